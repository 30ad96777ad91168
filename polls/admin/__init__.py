"""The admin of polls, invites, API clients, accounts and the audit log.

Start with `poll.py`. Ledger, claims and vote log have no pages: nobody sees who voted for what.
This package may import every package of polls except management; the admin of counting is in analytics.admin.
"""

# These modules register models when they are imported. The modules of polls.admin are imported later and
# unregister some of these models.
import django_otp.plugins.otp_static.admin
import django_otp.plugins.otp_totp.admin  # noqa: F401
import rest_framework_api_key.admin  # noqa: F401

from polls.admin import accounts, api_clients, audit_log, poll

__all__ = ["accounts", "api_clients", "audit_log", "poll"]
