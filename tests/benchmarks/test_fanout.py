"""The viewers of the fan-out benchmark. If they count wrongly, the published figures are wrong."""

import socket
import threading
from array import array

import pytest

from benchmarks.fanout.crowd import Crowd
from benchmarks.fanout.dialects import DIALECTS, Ended, ballots_in, masked
from benchmarks.fanout.reach import delays, each_delay, reached_all
from tests.servers import PATIENCE

TALLY = b'{"type":"tally","version":7,"ballots":1234,"choices":[{"number":1,"votes":99}]}'


def framed(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    head = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes((0x80 | opcode,)) + head + payload


def in_pieces(dialect: str, stream: bytes, size: int) -> tuple[list[bytes], bytes]:
    """Return a viewer's messages and answers when the stream arrives in pieces of this size."""
    hear, pending = DIALECTS[dialect].hear, b""
    messages, answers = [], b""
    for start in range(0, len(stream), size):
        heard, answer, pending = hear(pending + stream[start : start + size])
        messages += heard
        answers += answer
    return messages, answers


@pytest.mark.parametrize("size", [1, 3, 200, 10_000])
def test_frames_are_parsed_in_pieces_of_any_size(size: int) -> None:
    long = b'{"ballots":5}' + b" " * 900
    stream = framed(TALLY) + framed(b"are you there", 9) + framed(long) + framed(b'{"type":"viewers"}')
    assert in_pieces("websocket", stream, size) == (
        [TALLY, long, b'{"type":"viewers"}'],
        masked(10, b"are you there"),
    )


def test_a_close_frame_ends_the_connection() -> None:
    with pytest.raises(Ended):
        DIALECTS["websocket"].hear(framed(b"\x03\xe8", 8))


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_server_sent_events_are_parsed_from_http_chunks(size: int) -> None:
    chunks = [b"retry: 1000\n", b"event: tally\ndata: " + TALLY + b"\n\n", b": still there\n\n"]
    stream = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    messages, _ = in_pieces("sse", stream, size)
    assert [ballots_in(message) for message in messages] == [1234, None]


def test_socket_io_is_answered() -> None:
    stream = (
        framed(b'0{"sid":"a"}')
        + framed(b'40{"sid":"b"}')
        + framed(b"2")
        + framed(b'42["tally",{"ballots":3}]')
    )
    messages, answers = in_pieces("socketio", stream, 5)
    assert messages == [b'42["tally",{"ballots":3}]']
    assert answers == masked(1, b"40") + masked(1, b"3")


@pytest.mark.parametrize(
    ("message", "ballots"),
    [
        (TALLY, 1234),
        (b'{"poll": 1, "votes": {"1": 10, "2": 5}}', 15),
        (b'{"poll": 1, "votes": {}}', 0),
        (b'{"type":"viewers","count":8}', None),
    ],
)
def test_the_number_of_ballots_is_read_from_a_message(message: bytes, ballots: int | None) -> None:
    assert ballots_in(message) == ballots


def moves(*steps: tuple[int, int, list[float]]) -> dict[tuple[int, int], "array[float]"]:
    return {(old, new): array("d", times) for old, new, times in steps}


def test_a_tally_has_reached_all_when_the_last_viewer_has_it() -> None:
    # There are three viewers. The third goes from 0 to 20 directly, before the second has 20.
    seen = moves((0, 10, [1.0, 1.2]), (10, 20, [2.0, 2.6]), (0, 20, [2.1]))
    assert reached_all(seen) == [(2.1, 10), (2.6, 20)]
    assert delays(reached_all(seen), [(0.5, 1), (0.9, 10), (1.5, 11), (1.9, 21)]) == pytest.approx(
        [1.6, 1.2, 1.1, float("inf")]
    )


def test_viewers_of_two_servers_see_other_numbers() -> None:
    seen = moves((0, 10, [1.0]), (10, 30, [2.0]), (0, 15, [1.1]), (15, 30, [2.2]))
    assert reached_all(seen) == [(1.1, 10), (2.0, 15), (2.2, 30)]


def test_each_viewer_has_its_own_delay() -> None:
    seen = moves((0, 10, [1.0, 1.5]), (10, 20, [3.0, 3.5]))
    cast = [(0.5, 5), (0.9, 10), (2.5, 20)]
    assert sorted(each_delay(seen, cast)) == pytest.approx(sorted([0.5, 1.0, 0.1, 0.6, 0.5, 1.0]))


class TinyServer:
    """A server for two viewers, which get the same bytes: a tally, then a ping and a tally together."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.all_are_in = threading.Event()
        self.viewers: list[socket.socket] = []
        self.answers: list[bytes] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        self.viewers = [self.listener.accept()[0] for _ in range(2)]
        for viewer in self.viewers:
            viewer.recv(1000)
            viewer.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + framed(b'{"ballots":1}'))
        self.all_are_in.wait(PATIENCE)
        for viewer in self.viewers:
            viewer.sendall(framed(b"still there?", 9) + framed(b'{"ballots":2}'))
            viewer.settimeout(PATIENCE)
        self.answers = [viewer.recv(100) for viewer in self.viewers]

    def close(self) -> None:
        self.thread.join(PATIENCE)
        for each in (self.listener, *self.viewers):
            each.close()


def test_every_viewer_answers_a_ping_that_comes_with_a_tally(request: pytest.FixtureRequest) -> None:
    server = TinyServer()
    request.addfinalizer(server.close)
    crowd = Crowd(DIALECTS["websocket"], "127.0.0.1", server.port, "/")
    request.addfinalizer(crowd.leave)
    assert crowd.do_join(2)["missing"] == 0
    server.all_are_in.set()
    assert crowd.until(lambda: bool(server.answers), seconds=PATIENCE)
    assert server.answers == [masked(10, b"still there?")] * 2
    assert crowd.do_levels() == {"lowest": 2, "highest": 2}
    assert (crowd.tallies, crowd.lost) == (4, 0)
