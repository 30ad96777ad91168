"""The raw GET lane takes only what is exactly one ordinary request."""

import pytest

from polls.http.lanes import Headers, Response
from polls.http.raw_get_lane import RawGetLane

PLAIN = b"GET /p/DEMO/ HTTP/1.1\r\nHost: vote.example\r\nCookie:  a=1 \r\nX-Other: x\r\n\r\n"


class Lane:
    relevant_headers = frozenset((b"host", b"cookie"))

    def __init__(self, known: str = "/p/DEMO/") -> None:
        self.known = known
        self.asked: list[tuple[str, Headers, bool]] = []

    def answer(self, path: str, headers: Headers, *, secure: bool) -> Response | None:
        self.asked.append((path, headers, secure))
        return Response(200, [(b"content-length", b"2")], b"ok") if path == self.known else None


def take(data: bytes, *lanes: Lane, scheme: str = "http") -> bytes | None:
    said: list[bytes] = []
    taken = RawGetLane(lanes).take(data, lambda head, body: said.append(head + b"\r\n" + body), None, scheme)
    assert taken == bool(said)
    return said[0] if said else None


def test_the_lanes_are_asked_in_order() -> None:
    first, second, third = Lane("/other/"), Lane(), Lane()
    answer = take(PLAIN, first, second, third, scheme="https")
    assert answer is not None
    start, end = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-request-id: ", b"\r\n\r\nok"
    assert answer.startswith(start) and answer.endswith(end) and len(answer) == len(start + end) + 16
    wanted = ("/p/DEMO/", [(b"host", b"vote.example"), (b"cookie", b"a=1")], True)
    assert (first.asked, second.asked, third.asked) == ([wanted], [wanted], [])


def test_a_request_id_is_kept_unless_it_could_forge_a_log_line() -> None:
    for given, kept in ((b"proxy-1.2:3", True), (b"short", False), (b'x" level=error', False)):
        answer = take(PLAIN.replace(b"X-Other: x", b"X-Request-ID: " + given), Lane())
        assert answer is not None
        assert (b"x-request-id: %b\r\n" % given in answer) == kept


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:-1],
        PLAIN + b"x",
        PLAIN + PLAIN,
        b"\r\n" + PLAIN,
        PLAIN.replace(b"GET", b"HEAD"),
        PLAIN.replace(b"GET", b"get"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"DEMO/", b"DEMO/?a=1"),
        PLAIN.replace(b"DEMO/", b"DE%4D%4F/"),
        PLAIN.replace(b"/p/DEMO/", b"http://vote.example/p/DEMO/"),
        PLAIN.replace(b"Host: vote.example\r\nCookie:  a=1 \r\nX-Other: x\r\n", b""),
        PLAIN.replace(b"X-Other:", b"X-Other :"),
        PLAIN.replace(b"X-Other:", b" folded:"),
        PLAIN.replace(b"X-Other: x", b"X-Other: \x00"),
        *[
            PLAIN.replace(b"X-Other: x", header)
            for header in (
                b"Content-Length: 0",
                b"transfer-encoding: chunked",
                b"Expect: 100-continue",
                b"Upgrade: websocket",
                b"Connection: close",
                b"Connection: keep-alive, Upgrade",
            )
        ],
    ],
)
def test_other_bytes_are_parsed_by_the_server(data: bytes) -> None:
    lane = Lane()
    assert take(data, lane) is None
    assert lane.asked == []
