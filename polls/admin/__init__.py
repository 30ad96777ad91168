"""The admin of polls, API clients and accounts. What is about counting is in analytics.admin.

Ledger, claims and vote log have no pages here: nobody sees who voted what.
"""

from . import accounts, api_clients, poll, records

__all__ = ["accounts", "api_clients", "poll", "records"]
