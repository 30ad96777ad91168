"""Login lockout: the functions that django-axes calls, named in the settings AXES_*.

After too many failures a username is locked out from one network only, so an attacker elsewhere can't lock an
admin out. The second factor protects against guessing from many networks.
"""

from ipaddress import IPv6Address
from math import ceil
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib import admin
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from polls.http.client_address import FORWARDED_FOR, client_address, site_network
from polls.keys import keyed_hash


def network_hash(request: HttpRequest) -> str:
    """Return a keyed hash of the client's network, in the form of an address, which axes can store.

    The network is an IPv4 address or an IPv6 /48, which one site may own. The key changes daily.
    """
    address = client_address(request.META.get("REMOTE_ADDR"), request.headers.get(FORWARDED_FOR))
    place = site_network(address) if ":" in address else address
    today = timezone.now().date().isoformat()
    digest = keyed_hash(f"{today} {place}".encode(), settings.SECRET_KEY, b"log-in from", 16)
    return str(IPv6Address(digest))


#: The length of axes' column. No account has a longer name, so no two accounts share a truncated name.
MAX_USERNAME = 255


def username_of(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """Return the username of a login attempt."""
    name = (credentials or request.POST).get("username")
    return name[:MAX_USERNAME] if name else name


class LoginAttempts(AxesDatabaseHandler):
    """Stores only username, network, time and number of failures. No user agent is stored."""

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: Any = None, **kw: Any
    ) -> None:
        if request is not None:
            request.axes_user_agent = request.axes_http_accept = ""
        super().user_login_failed(sender, credentials, request, **kw)


def lockout_response(
    request: HttpRequest, response: HttpResponse | None = None, credentials: dict[str, Any] | None = None
) -> HttpResponse:
    """Return the page shown during a lockout, with the minutes left."""
    wait = seconds_left(request, credentials)
    minutes = ceil(wait / 60)
    text = ngettext(
        "Too many failed logins with this name from your network. Try again in %(minutes)s minute.",
        "Too many failed logins with this name from your network. Try again in %(minutes)s minutes.",
        minutes,
    )
    context = {
        **admin.site.each_context(request),
        "title": _("Please wait"),
        "text": text % {"minutes": minutes},
        "user": None,  # the page must not show who is logged in
    }
    page = SimpleTemplateResponse("admin/locked_out.html", context, status=429)
    page.headers["Retry-After"] = str(wait)
    page.headers["Cache-Control"] = "private, no-store"
    return page.render()


def seconds_left(request: HttpRequest, credentials: dict[str, Any] | None) -> int:
    handler = AxesProxyHandler.get_implementation()
    attempts: list[Any] = handler.filter_user_attempts(request, credentials)
    last = max(
        filter(None, (each.aggregate(last=Max("attempt_time"))["last"] for each in attempts)), default=None
    )
    cool_off = settings.AXES_COOLOFF_TIME
    left = (last + cool_off - timezone.now()).total_seconds() if last else cool_off.total_seconds()
    return max(1, ceil(left))
