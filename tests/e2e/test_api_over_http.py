"""The API behind real servers: unusual request bodies."""

import http.client
import json
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import fetch
from tests.servers import PATIENCE
from tests.system import Landslide

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

NEW = b'{"question": "Tea?", "choices": ["Yes", "No"]}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module", params=["shared_embedded", "shared_daphne"])
def system(request: pytest.FixtureRequest) -> Landslide:
    found: Landslide = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def headers(system: Landslide) -> dict[str, str]:
    return {"Authorization": f"Api-Key {system.api_key}", **JSON}


def ask(
    system: Landslide, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, Any]:
    """Send a request and return (status, headers, document).

    A body that is an iterable is sent in chunks, without a Content-Length.
    """
    connection = http.client.HTTPConnection(urlsplit(system.url).netloc, timeout=PATIENCE)
    chunked = body is not None and not isinstance(body, bytes)
    connection.request(method, path, body, headers or {}, encode_chunked=chunked)
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(raw) if raw else None


def pieces(body: bytes, size: int = 1_000) -> Iterable[bytes]:
    return iter([body[at : at + size] for at in range(0, len(body), size)])


def chunked(headers: dict[str, str]) -> dict[str, str]:
    return headers | {"Transfer-Encoding": "chunked"}


def test_a_chunked_body_is_read(system: Landslide, headers: dict[str, str]) -> None:
    status, sent, made = ask(system, "POST", "/api/v1/polls/", pieces(NEW, 7), chunked(headers))
    assert status == 201
    assert sent["Location"] == f"{system.url}/api/v1/polls/{made['code']}/"
    assert sent["X-Request-ID"]
    ballot = b'{"selections": [1], "voter": "anna"}'
    status, _, document = ask(
        system, "POST", "/api/v1/polls/DEMO/ballots/", pieces(ballot, 5), chunked(headers)
    )
    assert (status, document["status"]) == (202, "accepted")


@pytest.mark.parametrize("way", [lambda body: body, pieces], ids=["with a length", "in chunks"])
@pytest.mark.parametrize("path", ["/api/v1/polls/", "/api/v1/polls/DEMO/ballots/"])
def test_a_megabyte_is_too_large(system: Landslide, headers: dict[str, str], path: str, way: Any) -> None:
    body = b" " * 1_000_000
    sent = headers if way is not pieces else chunked(headers)
    status, got, document = ask(system, "POST", path, way(body), sent)
    assert (status, document["code"]) == (413, "too_large")
    assert got["Content-Type"] == "application/problem+json"


def head(system: Landslide, path: str, length: str) -> bytes:
    lines = f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{system.port}", f"Content-Length: {length}"
    return "\r\n".join((*lines, "Content-Type: application/json", "", "")).encode()


def test_a_body_shorter_than_its_content_length_harms_nobody(system: Landslide) -> None:
    before = len(system.output())
    for length, body in ((1_000, b'{"selections": [1]}'), (10**12, b"{}")):
        with socket.create_connection(("127.0.0.1", system.port), timeout=PATIENCE) as wire:
            wire.sendall(head(system, "/api/v1/polls/DEMO/ballots/", str(length)) + body)
    assert fetch.get(f"{system.url}/api/v1/polls/DEMO/tally/").status_code == 200
    assert "Traceback" not in system.output()[before:]


@pytest.mark.parametrize("length", ["x", "-1", "1e3"])
def test_a_length_that_is_none_is_refused(system: Landslide, length: str) -> None:
    with socket.create_connection(("127.0.0.1", system.port), timeout=PATIENCE) as wire:
        wire.sendall(head(system, "/api/v1/polls/", length) + b"{}")
        assert b" 400 " in wire.recv(1_000).split(b"\r\n")[0]


@pytest.mark.parametrize("path", ["/api/nothing/", "/api/v1/polls/NOSUCH/tally/", "/api/v1/polls/%00/tally/"])
def test_an_unknown_address_is_a_problem_document(system: Landslide, path: str) -> None:
    status, got, document = ask(system, "GET", path)
    assert (status, got["Content-Type"], document["status"]) == (404, "application/problem+json", 404)
    status, got, document = ask(system, "HEAD", path)
    assert (status, document) == (404, None)
