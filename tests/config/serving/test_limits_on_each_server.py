"""Read timeouts and size limits hold on uvicorn, on Daphne, and with a uvicorn that lacks a name."""

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.config.serving.limited_server import BODY_BYTES
from tests.servers import PATIENCE
from tests.system import ROOT, bare_environment

pytestmark = pytest.mark.slow

SERVERS = {
    "uvicorn": ["uvicorn"],
    "daphne": ["daphne"],
    "an unknown uvicorn": ["uvicorn", "_unset_keepalive_if_required"],
}
HEAD = b"POST / HTTP/1.1\r\nhost: testserver\r\n"


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("limited")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.config.serving.limited_server", *request.param],
        cwd=ROOT,
        env=bare_environment(folder, DATA_DIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout
        yield int(server.stdout.readline())
        server.kill()


def shorten(port: int, *names: str) -> None:
    """Shorten these time limits; make all others far longer than a test takes, even on a busy machine."""
    query = "&".join(f"{name}=0.5" for name in names or ("NONE",))
    for _ in range(100):  # the limit of the test before may be shorter than this request takes
        with contextlib.suppress(OSError, http.client.HTTPException):
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            link.request("GET", f"/?{query}", headers={"Connection": "close"})
            if link.getresponse().status == 200:
                return
    raise AssertionError("The server doesn't answer.")


def heard(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send the pieces with pauses, and return all output until the server disconnects."""
    output = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        with contextlib.suppress(ConnectionError):  # the server has disconnected while pieces were being sent
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause)
        with contextlib.suppress(ConnectionError):
            while data := client.recv(65536):
                output += data
    return output


def test_a_request_is_answered_and_the_connection_kept(port: int) -> None:
    shorten(port)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        for _ in range(2):
            client.sendall(HEAD + b"content-length: 5\r\n\r\nhello")
            answer = b""
            while not answer.endswith(b"\r\n\r\n5"):
                data = client.recv(65536)
                assert data, answer
                answer += data
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_silent_connection_is_closed(port: int) -> None:
    shorten(port, "FIRST_BYTE")
    assert heard(port) == b""


def test_slow_headers_are_refused(port: int) -> None:
    shorten(port, "HEAD")
    drops = [b"GET / HTTP/1.1\r\n", *(b"x-drop-%d: 1\r\n" % n for n in range(400))]
    assert heard(port, *drops, pause=0.05).startswith(b"HTTP/1.1 408 ")


def test_slow_headers_of_a_second_request_are_refused(port: int) -> None:
    shorten(port, "HEAD")
    drops = [HEAD + b"content-length: 0\r\n\r\n", b"GET ", *[b"/"] * 400]
    assert b"HTTP/1.1 408 " in heard(port, *drops, pause=0.05)


def test_endless_headers_are_refused(port: int) -> None:
    shorten(port)
    lines = b"".join(b"x-%d: %b\r\n" % (n, b"y" * 500) for n in range(1000))
    output = heard(port, HEAD, *[lines] * 100)
    assert b"HTTP/1.1 2" not in output


def test_an_endless_header_line_is_refused(port: int) -> None:
    shorten(port)
    output = heard(port, HEAD + b"x: ", *[b"y" * 100_000] * 100)
    assert b"HTTP/1.1 2" not in output


def test_a_stalled_body_is_refused(port: int) -> None:
    shorten(port, "HEAD", "BODY_PAUSE")
    assert b"HTTP/1.1 2" not in heard(port, HEAD + b"content-length: 1000\r\n\r\nbegun")


def test_a_slow_body_is_refused(port: int) -> None:
    shorten(port, "HEAD", "BODY")
    output = heard(port, HEAD + b"content-length: 1000\r\n\r\n", *[b"x"] * 900, pause=0.05)
    assert output.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
def test_a_large_body_is_refused(port: int, chunked: bool) -> None:
    shorten(port)
    piece, lines = b"x" * 50_000, b"content-length: 100000000\r\nconnection: close\r\n\r\n"
    if chunked:
        piece, lines = b"c350\r\n%b\r\n" % piece, b"transfer-encoding: chunked\r\n\r\n"
    output = heard(port, HEAD + lines, *[piece] * 2000)
    assert b"HTTP/1.1 2" not in output


def test_a_body_at_the_limit_is_accepted(port: int) -> None:
    shorten(port)
    head = HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % BODY_BYTES
    assert heard(port, head + b"x" * BODY_BYTES).endswith(b"\r\n\r\n%d" % BODY_BYTES)


def test_a_large_frame_closes_the_connection(port: int) -> None:
    shorten(port)
    with connect(f"ws://127.0.0.1:{port}/", compression=None, open_timeout=PATIENCE) as client:
        client.send("x" * 16_000)
        assert client.recv(timeout=PATIENCE) == "16000"
        client.send("x" * 17_000)
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE)


def test_a_flood_of_frames_closes_the_connection(port: int) -> None:
    shorten(port)
    with connect(f"ws://127.0.0.1:{port}/", compression=None, open_timeout=PATIENCE) as client:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(10_000):
                client.send("")
        with pytest.raises(ConnectionClosed):
            read_to_the_end(client)


def read_to_the_end(client: ClientConnection) -> None:
    while True:
        client.recv(timeout=PATIENCE)
