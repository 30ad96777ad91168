"""The pages for screens: results and presenter. The pages can be cached, since they hold no figures."""

from functools import lru_cache
from urllib.parse import urlsplit

import segno
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from polls import rounds
from polls.http.client_address import public_url
from polls.models import Identity, Poll
from polls.pages.script_messages import ASSURANCE, COMMON, catalogue
from polls.pages.views import poll_page
from polls.poll_document import poll_document
from realtime.pages import script_messages

LOOPBACK = ("localhost", "127.", "[::1]")


@poll_page
def results(request: HttpRequest, poll: Poll) -> HttpResponse:
    context = {
        "poll": poll_document(poll),
        "texts": catalogue(COMMON, script_messages.RESULTS),
        "has_earlier": rounds.public(poll).exists(),
        "assurance": ASSURANCE[Identity(poll.identity)],
    }
    return render(request, "realtime/results.html", context)


@poll_page
def present(request: HttpRequest, poll: Poll) -> HttpResponse:
    voting = public_url(request, reverse("polls:vote", args=[poll.code]))
    host = urlsplit(voting).netloc
    context = {
        "poll": poll_document(poll),
        "texts": catalogue(COMMON, script_messages.PRESENT),
        "qr": qr_svg(voting),
        # Without PUBLIC_URL, a script checks in the browser whether the page was opened at this host.
        "host": "" if settings.PUBLIC_URL else host,
        "address": host + reverse("polls:join").rstrip("/"),
        "manage": reverse("admin:polls_poll_change", args=[poll.pk]),
        "loopback": host.startswith(LOOPBACK),
    }
    return render(request, "realtime/present.html", context)


@lru_cache(maxsize=256)
def qr_svg(url: str) -> SafeString:
    """Draw an address as a QR code in inline SVG: dark on light, with the quiet zone that scanners need."""
    code = segno.make(url, error="m", micro=False)
    svg = code.svg_inline(border=4, omitsize=True, dark="#000", light="#fff", svgclass="qr", lineclass=None)
    return mark_safe(svg)  # noqa: S308 - squares only, no text of the address
