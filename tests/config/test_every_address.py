"""No request to any address causes a server error."""

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from polls.votelog import expected_heads
from tests.factories import open_poll
from tests.realtime.test_embargo import routes

pytestmark = pytest.mark.django_db

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"]
#: Unusual values for the parameters of routes.
ODD = [
    "0",
    "-1",
    "99999999999999999999",
    "9" * 5000,
    "%00",
    "..%2f..",
    "%ff",
    "é",
    "a" * 5000,
    "<b>",
    "%0d%0ax:y",
]


def every_address(*values: str) -> list[str]:
    """Return each route of the application with each of these values in it."""
    found: dict[str, None] = {}
    for pattern, _ in routes():
        for value in values:
            path = re.sub(r"<[^<>]+>", value.replace("\\", r"\\"), pattern)
            path = re.sub(r"\(\?P?(?:<\w+>)?[^()]*\)", value.replace("\\", r"\\"), path)
            found["/" + re.sub(r"[\^$\\?]", "", path)] = None
    return list(found)


def answers(client: Client, paths: list[str], methods: list[str]) -> dict[tuple[str, str], int]:
    """Return the status of each request. Event streams are left out: the test client can't serve them."""
    asked = ((method, path) for method in methods for path in paths if not path.endswith("/stream/"))
    return {(method, path): client.generic(method, path).status_code for method, path in asked}


def failed(told: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    return {asked: status for asked, status in told.items() if status >= 500}


@pytest.fixture
def anybody() -> Client:
    return Client(raise_request_exception=False)


def test_no_method_causes_a_server_error(anybody: Any) -> None:
    expected_heads(max_age=0)
    poll = open_poll()
    told = answers(anybody, every_address(poll.code), METHODS)
    assert failed(told) == {}
    assert len(set(told.values())) > 5


def test_no_unusual_path_causes_a_server_error(anybody: Any) -> None:
    expected_heads(max_age=0)
    told = answers(anybody, every_address(*ODD), ["GET"])
    assert failed(told) == {}


def test_no_path_causes_a_server_error_for_staff(anybody: Any) -> None:
    expected_heads(max_age=0)
    poll = open_poll()
    anybody.force_login(get_user_model().objects.create_superuser("boss"))
    told = answers(anybody, every_address(str(poll.pk), "%00"), ["GET"])
    assert failed(told) == {}
