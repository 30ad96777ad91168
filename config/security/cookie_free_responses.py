"""What is the same for everybody sets no cookie, so that a cache may keep it whoever asked.

A visitor's broken cookie of ours (a `sessionid` that somebody made up, an old `csrftoken`) would otherwise
be taken away or replaced with the next answer, whichever that is. A cache keeps no answer that sets a cookie,
so each such request would cost a page.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.cookie import SimpleCookie

_DELIMITER = re.compile(r"\s*,\s*")


class CookieFreeResponses:
    """Middleware, the first, since it comes after all others have had their say about an answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if "public" in _DELIMITER.split(response.headers.get("Cache-Control", "")):
            response.cookies = SimpleCookie()
            vary = _DELIMITER.split(response.headers.get("Vary", ""))
            response.headers.pop("Vary", None)
            if others := [name for name in vary if name not in ("", "Cookie")]:
                response.headers["Vary"] = ", ".join(others)
        return response
