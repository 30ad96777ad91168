"""Who fails to log in too often has to wait: what django-axes is told, and what it answers.

Locked out is a name from one network, never a name from everywhere: nobody can keep an admin out by failing
in the admin's name. Guessing from many networks is what the second factor is there against.
"""

from __future__ import annotations

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
    """The client's network as a keyed hash, written as an address, which is what axes has a column for.

    One address in IPv4 and a /48 in IPv6, of which one site may have all. The key changes daily.
    """
    address = client_address(request.META.get("REMOTE_ADDR"), request.headers.get(FORWARDED_FOR))
    place = site_network(address) if ":" in address else address
    today = timezone.now().date().isoformat()
    digest = keyed_hash(f"{today} {place}".encode(), settings.SECRET_KEY, b"log-in from", 16)
    return str(IPv6Address(digest))


#: What axes' column holds. No account's name is longer, so nobody shares a lock-out by it.
MAX_USERNAME = 255


def username_of(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """The name that somebody tries to log in with."""
    name = (credentials or request.POST).get("username")
    return name[:MAX_USERNAME] if name else name


class LoginAttempts(AxesDatabaseHandler):
    """Keeps no more than it needs: which name, from which network, when and how often."""

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: Any = None, **kw: Any
    ) -> None:
        if request is not None:
            request.axes_user_agent = request.axes_http_accept = ""
        super().user_login_failed(sender, credentials, request, **kw)


def lockout_response(
    request: HttpRequest, response: HttpResponse | None = None, credentials: dict[str, Any] | None = None
) -> HttpResponse:
    """The page in the place of the log-in's answer, with how long it takes."""
    wait = seconds_left(request, credentials)
    minutes = ceil(wait / 60)
    text = ngettext(
        "Too many log-ins with this name have failed from here. Try again in %(minutes)s minute.",
        "Too many log-ins with this name have failed from here. Try again in %(minutes)s minutes.",
        minutes,
    )
    context = {
        **admin.site.each_context(request),
        "title": _("Please wait"),
        "text": text % {"minutes": minutes},
        "user": None,  # whoever it is, this isn't the page to say so
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
