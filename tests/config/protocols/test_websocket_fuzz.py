"""Malformed input on a viewer's connection: the server keeps serving others and keeps nothing in memory.

The servers are real. HUNT_EXAMPLES=1000 runs 1000 new random examples.
"""

import json
import os
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection

from tests import fetch
from tests.config.protocols import websocket_fuzz
from tests.config.protocols.websocket_fuzz import Frame, converse, handshake, open_files, resident_bytes
from tests.e2e.clients import Client
from tests.servers import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
bounded = settings(max_examples=EXAMPLES or 25)
MEGABYTE = 1024 * 1024


class Healthy:
    """A viewer who must receive every change of the tally."""

    def __init__(self, client: Client, code: str, socket: ClientConnection) -> None:
        self.system, self.client, self.code, self.socket = client.system, client, code, socket
        self.path = f"/ws/polls/{self.code}/".encode()
        self.stream = f"/api/v1/polls/{self.code}/stream/".encode()
        self.ballots = 0
        self.sees(0)
        assert self.system.process
        self.pid = self.system.process.pid
        self.logged = len(self.system.output())

    def sees(self, ballots: int) -> None:
        while True:
            message = json.loads(self.socket.recv(timeout=PATIENCE))
            if message["type"] == "tally" and message["ballots"] >= ballots:
                assert message["ballots"] == ballots
                return

    def still_served(self) -> None:
        self.ballots += 1
        assert self.client.cast(self.code, f"voter-{self.ballots}", [1]).status_code == 202
        self.sees(self.ballots)

    def nothing_went_wrong(self) -> None:
        """Check that the process is alive and has logged no traceback."""
        assert self.system.process and self.system.process.poll() is None
        output = self.system.output()[self.logged :]
        assert "Traceback" not in output, output[output.index("Traceback") - 500 :][:6000]


@pytest.fixture
def healthy(embedded_api: Client) -> Iterator[Healthy]:
    code = embedded_api.make_poll()
    with fetch.websocket(f"{embedded_api.system.ws_url}/ws/polls/{code}/") as socket:
        viewer = Healthy(embedded_api, code, socket)
        viewer.still_served()
        files = open_files(viewer.pid)
        yield viewer
        viewer.still_served()
        viewer.nothing_went_wrong()
        deadline = time.monotonic() + PATIENCE
        while open_files(viewer.pid) > files + 5:  # some database connections may be open
            assert time.monotonic() < deadline, "the server keeps connections whose clients have left"
            time.sleep(0.05)


def test_random_frames_harm_no_other_viewer(healthy: Healthy) -> None:
    @bounded
    @given(websocket_fuzz.conversations, st.integers(0, 9), st.booleans())
    def hold(conversation: list[bytes], cut: int, polite: bool) -> None:
        parts = conversation
        if cut:  # send pieces that don't match the frames
            whole = b"".join(conversation)
            size = max(1, len(whole) // cut)
            parts = [whole[i : i + size] for i in range(0, len(whole), size)]
        output = converse(healthy.system.port, [handshake(healthy.path), *parts], polite=polite)
        if polite:
            assert output.startswith(b"HTTP/1.1 101 ") or not output

    hold()


def test_random_handshakes_cause_no_server_error(healthy: Healthy) -> None:
    @bounded
    @given(websocket_fuzz.requests(healthy.path, websocket_fuzz.REGULAR), websocket_fuzz.conversations)
    def hold(request: bytes, conversation: list[bytes]) -> None:
        output = converse(healthy.system.port, [request, *conversation])
        assert not output.startswith(b"HTTP/1.1 5"), output

    hold()


def test_random_stream_requests_cause_no_server_error(healthy: Healthy) -> None:
    @bounded
    @given(
        websocket_fuzz.requests(healthy.stream, websocket_fuzz.STREAM),
        st.lists(st.binary(max_size=300), max_size=3),
    )
    def hold(request: bytes, behind: list[bytes]) -> None:
        output = converse(healthy.system.port, [request, *behind])
        assert not output.startswith(b"HTTP/1.1 5"), output

    hold()


@pytest.mark.parametrize("flood", ["ping", "recheck", "fragments", "text"])
def test_a_flood_from_a_client_that_reads_nothing_takes_little_memory(healthy: Healthy, flood: str) -> None:
    """Send 24 MB. Neither the input nor the answers may accumulate in the server's memory."""
    frame = bytes(
        {
            "ping": Frame(b"p" * 125, websocket_fuzz.PING),
            "recheck": Frame(b'{"type":"recheck"}'),
            "fragments": Frame(b"", 0, fin=False),
            "text": Frame(b'{"type":"' + b"x" * 9000 + b'"}'),
        }[flood]
    )
    block = frame * (MEGABYTE // len(frame))
    begin = bytes(Frame(b"{", fin=False)) if flood == "fragments" else b""
    before = resident_bytes(healthy.pid)
    with socket.create_connection(("127.0.0.1", healthy.system.port), timeout=3) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(handshake(healthy.path) + begin)
        try:
            for _ in range(24):
                connection.sendall(block)
        except (TimeoutError, ConnectionError):
            pass  # the server has disconnected
        healthy.still_served()
        assert resident_bytes(healthy.pid) - before < 16 * MEGABYTE


def test_disconnected_clients_leave_nothing_in_memory(healthy: Healthy) -> None:
    """Memory doesn't grow with the number of clients that connect, send malformed input and leave."""
    conversation = [handshake(healthy.path), bytes(Frame(b"[" * 3000)), bytes(Frame(b"x", 3))]

    def come_and_go() -> None:
        for number in range(100):
            converse(healthy.system.port, conversation, polite=number % 3 > 0)

    come_and_go()
    before = resident_bytes(healthy.pid)
    for _ in range(2):
        come_and_go()
    # This is less than 20 KiB per client. A leaked connection would take more.
    assert resident_bytes(healthy.pid) - before < 4 * MEGABYTE
