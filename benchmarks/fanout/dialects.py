"""The viewer's side of the protocols by which the servers send tallies.

The functions do no I/O: they take bytes and return messages. The functions decode only enough to count
messages and identify tallies, so that thousands of viewers cost less than the measured server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"
_KEY = "bGFuZHNsaWRlLWJlbmNoIQ=="  # these 16 bytes may be any, since the server's answer isn't checked
_CLOSE, _PING = 8, 9
_TALLY = re.compile(rb'"ballots"\s*:\s*(\d+)')
_VOTES = re.compile(rb'"votes"\s*:\s*\{([^{}]*)\}')  # the stock stack's tally, choice -> votes
_COUNT = re.compile(rb":\s*(\d+)")

#: Complete messages, the bytes that the viewer must answer at once, and the remaining bytes.
Heard = tuple[list[bytes], bytes, bytes]


class Ended(Exception):
    """The server closed the stream."""


@dataclass(frozen=True)
class Dialect:
    """A protocol: the request for tallies, the start of a successful answer, and the stream's parser."""

    name: str
    request: Callable[[str, str], bytes]  # host, path
    accepted: bytes
    hear: Callable[[bytes], Heard]


def ballots_in(message: bytes) -> int | None:
    """Return the number of ballots in a tally, or None for any other message."""
    if found := _TALLY.search(message):
        return int(found[1])
    if found := _VOTES.search(message):
        return sum(map(int, _COUNT.findall(found[1])))
    return None


def _upgrade(host: str, path: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {_KEY}",
    ]
    return "\r\n".join(lines).encode() + HEAD_END


def _get_events(host: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream".encode() + HEAD_END


def masked(opcode: int, payload: bytes = b"") -> bytes:
    """Make a short client frame with the required mask, which is all zeros."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload


def hear_frames(data: bytes) -> Heard:
    """Parse unmasked, unfragmented WebSocket frames, as servers send them."""
    messages, answer, at, end = [], b"", 0, len(data)
    while end - at >= 2:
        opcode, size, head = data[at] & 0x0F, data[at + 1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[at + 2 : at + head], "big")
        if end - at < head + size:
            break
        payload = data[at + head : at + head + size]
        at += head + size
        if opcode == _CLOSE:
            raise Ended
        if opcode == _PING:
            answer += masked(10, payload)
        elif opcode in (1, 2):
            messages.append(payload)
    return messages, answer, data[at:]


def hear_socket_io(data: bytes) -> Heard:
    """Parse Engine.IO packets in WebSocket frames: the opening, which needs an answer, pings, and events."""
    frames, answer, rest = hear_frames(data)
    messages = []
    for frame in frames:
        if frame.startswith(b"42"):
            messages.append(frame)
        elif frame.startswith(b"0"):
            answer += masked(1, b"40")
        elif frame == b"2":
            answer += masked(1, b"3")
    return messages, answer, rest


def hear_events(data: bytes) -> Heard:
    """Parse server-sent events. Lines between HTTP chunks belong to no event."""
    *events, rest = data.split(b"\n\n")
    return events, b"", rest


def _socket_io_upgrade(host: str, path: str) -> bytes:
    return _upgrade(host, f"{path}?EIO=4&transport=websocket")


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("websocket", _upgrade, b"HTTP/1.1 101", hear_frames),
        Dialect("sse", _get_events, b"HTTP/1.1 200", hear_events),
        Dialect("socketio", _socket_io_upgrade, b"HTTP/1.1 101", hear_socket_io),
    )
}
