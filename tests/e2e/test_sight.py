"""WebSockets and event streams of staff on a real server must hide the tally after a logout."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests import fetch
from tests.e2e.clients import Client, http_client
from tests.servers import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def running(shared_embedded: Any) -> tuple[Any, Client]:
    return shared_embedded, Client(shared_embedded)


def log_in(system: Any) -> httpx.Client:
    staff = http_client(base_url=system.url, headers={"Referer": system.url})
    staff.get("/admin/login/")
    form = {"username": "admin", "password": system.admin_password}
    answer = post(staff, "/admin/login/", **form)
    assert answer.status_code == 302
    return staff


def post(staff: httpx.Client, page: str, **form: str) -> httpx.Response:
    return staff.post(page, data={**form, "csrfmiddlewaretoken": staff.cookies["csrftoken"]})


def tallies_of_socket(socket: Any) -> Iterator[Any]:
    while True:
        message = json.loads(socket.recv(timeout=PATIENCE))
        if message["type"] == "tally":
            yield message


def tallies_of_stream(stream: httpx.Response) -> Iterator[Any]:
    kind = ""
    for line in stream.iter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data" and kind == "tally":
            yield json.loads(value)


def first(tallies: Iterator[Any], visible: bool) -> Any:
    return next(tally for tally in tallies if tally["visible"] is visible)


def test_open_connections_hide_the_tally_after_a_logout(running: Any) -> None:
    system, client = running
    code = client.make_poll(results_visible="staff")
    client.cast(code, "ann", [1])
    staff = log_in(system)
    cookie = {"Cookie": f"sessionid={staff.cookies['sessionid']}"}
    with (
        fetch.websocket(f"{system.ws_url}/ws/polls/{code}/", additional_headers=cookie) as socket,
        fetch.stream("GET", f"{system.url}/api/v1/polls/{code}/stream/", headers=cookie) as stream,
    ):
        screens = [tallies_of_socket(socket), tallies_of_stream(stream)]
        for screen in screens:
            first(screen, visible=True)
        post(staff, "/admin/logout/")
        for screen in screens:
            hidden = first(screen, visible=False)
            assert not {"ballots", "version"} & set(hidden)


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_pages_of_other_origins_see_no_hidden_tally_with_a_visitors_cookies(
    running: Any, origin: str
) -> None:
    """Cross-site WebSocket hijacking: browsers send the cookies with handshakes from every origin."""
    system, client = running
    code = client.make_poll(results_visible="staff")
    client.cast(code, "ann", [1])
    staff = log_in(system)
    headers = {"Cookie": f"sessionid={staff.cookies['sessionid']}"}
    socket = fetch.websocket(f"{system.ws_url}/ws/polls/{code}/", additional_headers=headers, origin=origin)
    with socket, pytest.raises(ConnectionClosed, match="4403"):
        socket.recv(timeout=PATIENCE)
    address = f"{system.url}/api/v1/polls/{code}/stream/"
    with fetch.stream("GET", address, headers={**headers, "Origin": origin}) as stream:
        assert "access-control-allow-origin" not in stream.headers
        assert not next(tallies_of_stream(stream))["visible"]
    tally = fetch.get(f"{system.url}/api/v1/polls/{code}/tally/", headers={**headers, "Origin": origin})
    assert "access-control-allow-origin" not in tally.headers
