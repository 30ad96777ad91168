"""Cookies are parsed as Django parses them, except those that take long to unquote."""

from types import SimpleNamespace

import pytest
from django.http import cookie as django_cookie
from django.http.cookie import parse_cookie

from analytics.results.visibility import Viewer
from config.serving.django_handler import Request
from polls.http.cookies import parse_cookies
from polls.models import Visibility
from realtime.viewer_access import identify_viewer
from tests.polls.differential import Sent


@pytest.mark.parametrize("header", ["", "a=1", "a=1; b=2;a=3", 'a="x y"', "a", "=1;;", "a=Ä; voter =x"])
def test_cookies_are_parsed_as_django_does(header: str) -> None:
    assert parse_cookies(header) == parse_cookie(header)


def test_cookies_with_a_backslash_are_never_unquoted(monkeypatch: pytest.MonkeyPatch) -> None:
    unquoted: list[str] = []
    unquote = SimpleNamespace(_unquote=lambda value: unquoted.append(value) or value)
    monkeypatch.setattr(django_cookie, "cookies", unquote)
    header = rb'a=1; b="\1\1"; voter=x'
    wanted = {"a": "1", "voter": "x"}
    assert parse_cookies(header.decode()) == wanted
    request = Request(Sent("/", [(b"cookie", header)], method="GET").scope(), None)
    assert wanted == request.COOKIES
    assert identify_viewer(header, "DEMO", Visibility.ALWAYS) == Viewer.PUBLIC
    assert unquoted == ["1", "x"] * 3
