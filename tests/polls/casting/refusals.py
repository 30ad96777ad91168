"""Requests that are refused, for the tests of casting."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from polls.casting.cast import cast_and_wait
from polls.casting.request import CastRequest

PAGE = "http://testserver"
SECOND_BALLOT = {"ballot_id": "00000000-0000-4000-8000-000000000002"}


def changed(asked: CastRequest, **parts: Any) -> CastRequest:
    return msgspec.structs.replace(asked, **parts)


def refused(asked: CastRequest, way: Callable[..., Any] = cast_and_wait) -> tuple[int, str]:
    """Check that the response is a problem document without internal details. Return its status and code."""
    answer = way(asked)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    document = json.loads(answer.body)
    assert document["status"] == answer.status
    assert set(document) - {"reason"} == {"type", "title", "status", "detail", "code"}
    assert "Traceback" not in document["detail"]
    assert "Error" not in document["detail"]
    if answer.status in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    return answer.status, document["code"]
