"""The admin of polls, API clients and accounts. What is about counting is in analytics.admin.

Ledger, claims and vote log have no pages here: nobody sees who voted what.
"""

# Whoever imports this first: these have to be registered before ours unregister them.
import django_otp.plugins.otp_static.admin
import django_otp.plugins.otp_totp.admin  # noqa: F401
import rest_framework_api_key.admin  # noqa: F401

from polls.admin import accounts, api_clients, audit_log, poll

__all__ = ["accounts", "api_clients", "audit_log", "poll"]
