"""A request inside another's body is never executed, through nginx, on uvicorn and on Daphne.

The tests ignore the answers and check the effects: ballots, failed logins, and addresses over their limit.
HUNT_EXAMPLES sets the number of random conversations.
"""

import json
import os
import random
import socket
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.conftest import landslides
from tests.e2e.clients import Client, close_all, ledger, new_voter
from tests.servers import PATIENCE, Nginx, started
from tests.system import Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
CONVERSATIONS = EXAMPLES or 25
CLAIMED, PLAIN = "203.0.113.9", "198.51.100.7"
#: The rate limit per address: above the number of ordinary casts, below the number of hidden casts.
MOST = 2 * CONVERSATIONS + 10
HONEST, HIDDEN = 1, 2  # the choices that ordinary and hidden casts vote for

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
SOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
ASKED = [
    *(
        b"",
        H2C,
        SOCKET,
        H2C + SOCKET,
        b"Upgrade: h2c\r\n",
        b"Connection: upgrade\r\n",
        b"Upgrade: websocket\r\n",
    ),
    *(b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\n", b"Connection: upgrade, close\r\nUpgrade: h2c\r\n"),
    *(b"Expect: 100-continue\r\n", b"Expect: x\r\n", b"Connection: keep-alive\r\n", b"TE: trailers\r\n"),
    SOCKET + b"Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
]


class Door(NamedTuple):
    """A port to send requests to, and the system that serves it."""

    system: Landslide
    port: int
    client: Client


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def doors(request: pytest.FixtureRequest) -> Iterator[dict[str, Door]]:
    env = {"TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMITS": f"address={MOST}/86400"}
    starting = landslides(request)
    system = next(starting)(server=request.param, env=env)
    with started(front := Nginx(system.port)):
        client = Client(system)
        yield {
            "direct": Door(system, system.port, client),
            "nginx": Door(system, front.port, client),
        }
    close_all()
    starting.close()


@pytest.fixture(params=["direct", "nginx"])
def door(request: pytest.FixtureRequest, doors: dict[str, Door]) -> Door:
    return doors[request.param]


def converse(port: int, pieces: list[bytes]) -> bytes:
    """Send the pieces, and read until the server disconnects."""
    output = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
            while data := connection.recv(65536):
                output += data
        except TimeoutError:
            raise
        except OSError:
            pass  # the server has disconnected first
    return output


class Requests:
    """Makes requests: casts in a poll, and logins with a wrong password."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.code = door.client.make_poll()
        self.name = f"hidden-{uuid.uuid4()}"

    def cast(self, choice: int, lines: bytes = b"", chunked: bool = False) -> bytes:
        """Return a cast by a new voter."""
        voter = new_voter(self.door.system.url, self.code).cookies["voter"].encode()
        body = json.dumps({"selections": [choice], "ballot_id": str(uuid.uuid4())}).encode()
        framing, body = chunks(body) if chunked else (b"Content-Length: %d\r\n" % len(body), body)
        return (
            b"POST /api/v1/polls/%b/ballots/ HTTP/1.1\r\n%bContent-Type: application/json\r\n"
            b"Cookie: voter=%b\r\n%b%b\r\n%b" % (self.code.encode(), self.host(), voter, framing, lines, body)
        )

    def log_in(self, address: str = CLAIMED) -> bytes:
        token = b"a" * 32
        body = b"username=%b&password=wrong&csrfmiddlewaretoken=%b" % (self.name.encode(), token)
        return (
            b"POST /admin/login/ HTTP/1.1\r\n%bContent-Type: application/x-www-form-urlencoded\r\n"
            b"Cookie: csrftoken=%b\r\nX-Forwarded-For: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (self.host(), token, address.encode(), len(body), body)
        )

    def host(self) -> bytes:
        return b"Host: 127.0.0.1:%d\r\n" % self.door.port

    def hidden(self, luck: random.Random) -> bytes:
        """Return a body of whole requests: three casts from a forged address, and a login."""
        cast = self.cast(HIDDEN, b"X-Forwarded-For: %b\r\n" % CLAIMED.encode())
        return b"\r\n" * luck.choice([0, 1, 500, 150_000]) + cast * 3 + self.log_in()

    def attempts(self) -> int:
        rows = self.door.system.query(
            "SELECT COUNT(*) FROM axes_accessattempt WHERE username = %s", self.name
        )
        return int(rows[0][0])

    def votes(self, ballots: int) -> Any:
        """Return the counts of the choices once at least `ballots` ballots are counted."""
        self.door.client.tally_when(self.code, lambda tally: tally["ballots"] >= ballots)
        return ledger(self.door.system, self.code)["votes"]


def chunks(body: bytes, ext: bytes = b"") -> tuple[bytes, bytes]:
    return b"Transfer-Encoding: chunked\r\n", b"%x%b\r\n%b\r\n0\r\n\r\n" % (len(body), ext, body)


def clear(luck: random.Random, requests: Requests, body: bytes) -> bytes:
    """Return a request with unambiguous framing, but with unusual headers."""
    framing = b"Content-Length: %d\r\n" % len(body)
    if luck.random() < 0.3:
        framing, body = chunks(body, luck.choice([b"", b";a=b"]))
    method = luck.choice([b"POST", b"POST", b"GET", b"PUT", b"HEAD", b"OPTIONS", b"DELETE"])
    code = requests.code.encode()
    path = luck.choice([b"/ws/", b"/ws/polls/%b/" % code, b"/", b"/api/v1/polls/%b/stream/" % code])
    if method == b"GET" and path.endswith(b"/stream/"):
        path = b"/ws/"  # an event stream would never end
    if luck.random() < 0.1:
        path = b"http://127.0.0.1:%d%b" % (requests.door.port, path)
    lines = luck.choice(ASKED) + luck.choice([b"", b"X-Forwarded-For: 192.0.2.1\r\n"])
    parts = [requests.host(), framing, lines]
    luck.shuffle(parts)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, path, b"".join(parts), body)


def unclear(luck: random.Random, requests: Requests, body: bytes) -> bytes:
    """Return a request with ambiguous framing."""
    length = b"Content-Length: %d\r\n" % len(body)
    odd = luck.choice(
        [
            *(
                b"Transfer-Encoding: chunked\r\n",
                b"Transfer-Encoding: x, chunked\r\n",
                b"Content-Length: 0\r\n",
            ),
            *(
                b"Transfer-Encoding : chunked\r\n",
                b"X: y\r\n Content-Length: 0\r\n",
                b"Content-Length : 0\r\n",
            ),
            *(b"Transfer-Encoding:\x0bchunked\r\n", b"Content-Length: +1\r\n", b"Content-Length: 1, 1\r\n"),
            b"X: y\nTransfer-Encoding: chunked\r\n",
        ]
    )
    lines = [requests.host(), length, odd, luck.choice(ASKED)]
    return b"POST /ws/ HTTP/1.1\r\n%b\r\n0\r\n\r\n%b" % (b"".join(lines), body)


def cut(luck: random.Random, whole: bytes) -> list[bytes]:
    at = sorted({luck.randrange(1, len(whole)) for _ in range(luck.choice([0, 0, 1, 3]))})
    return [whole[i:j] for i, j in zip([0, *at], [*at, len(whole)], strict=True)]


def test_requests_hidden_in_bodies_are_not_executed(door: Door) -> None:
    requests = Requests(door)
    honest = acknowledged = 0
    for number in range(CONVERSATIONS):
        luck = random.Random(number)
        if luck.random() < 0.7:
            whole = clear(luck, requests, requests.hidden(luck))
            whole += requests.cast(HONEST, b"Connection: close\r\n")
            honest += 1
        else:
            whole = unclear(luck, requests, requests.hidden(luck)) + b"GET / HTTP/1.0\r\n\r\n"
        acknowledged += converse(door.port, cut(luck, whole)).count(b"HTTP/1.1 202 ")

    votes = requests.votes(acknowledged)
    assert votes[HIDDEN if HIDDEN in votes else str(HIDDEN)] == 0
    assert requests.attempts() == 0
    assert acknowledged <= sum(votes.values()) <= honest
    assert acknowledged > CONVERSATIONS // 3  # otherwise this would only test refusals
    # The forged address has used up nothing of its rate limit.
    from_there = b"X-Forwarded-For: %b\r\nConnection: close\r\n" % CLAIMED.encode()
    direct = door.system.port
    assert converse(direct, [requests.cast(HONEST, from_there)]).startswith(b"HTTP/1.1 202 ")


def test_the_same_requests_sent_openly_are_executed(door: Door) -> None:
    requests = Requests(door)
    close = b"Connection: close\r\n"
    assert converse(door.port, [requests.cast(HIDDEN, close)]).startswith(b"HTTP/1.1 202 ")
    log_in = requests.log_in(PLAIN).replace(b"Content-Type", close + b"Content-Type", 1)
    assert converse(door.port, [log_in]).startswith(b"HTTP/1.1 200 ")
    assert requests.votes(1).total() == 1
    assert requests.attempts() == 1


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("lines", [H2C, SOCKET, b"Expect: 100-continue\r\n"], ids=["h2c", "socket", "expect"])
def test_cast_with_upgrade_or_expect_counts_once(
    door: Door, lines: bytes, chunked: bool, in_pieces: bool
) -> None:
    requests = Requests(door)
    cast = requests.cast(HONEST, lines, chunked)
    last = b"GET /healthz HTTP/1.1\r\n%bConnection: close\r\n\r\n" % requests.host()
    end_of_head = cast.index(b"\r\n\r\n") + 4
    pieces = [cast[:end_of_head], cast[end_of_head:], last] if in_pieces else [cast + last]
    output = converse(door.port, pieces)
    assert output.count(b"HTTP/1.1 202 ") == 1, output
    assert output.count(b"HTTP/1.1 200 ") == 1, output
    assert requests.votes(1).total() == 1
