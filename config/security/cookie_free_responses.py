"""Public responses set no cookies, so that a cache can store them.

Django deletes or replaces an invalid cookie (a made-up `sessionid`, an old `csrftoken`) in any response. A
cache stores no response that sets a cookie, so each request with an invalid cookie would reach Django.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.cookie import SimpleCookie

_DELIMITER = re.compile(r"\s*,\s*")


class CookieFreeResponses:
    """Django middleware, listed first so that it sees the response after all other middleware."""

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
