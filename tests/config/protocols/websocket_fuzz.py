"""Hypothesis strategies for malformed input on a viewer's connection."""

from __future__ import annotations

import json
import os
import socket
import struct
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.servers import PATIENCE

TEXT, CLOSE, PING = 1, 8, 9


@dataclass(frozen=True)
class Frame:
    """A frame whose fields needn't match each other."""

    payload: bytes = b""
    opcode: int = TEXT
    fin: bool = True
    reserved: int = 0
    masked: bool = True
    claimed: int | None = None  # a wrong length for the header
    wide: int = 0  # 1 or 2: write the length in more bytes than needed

    def __bytes__(self) -> bytes:
        length = len(self.payload) if self.claimed is None else self.claimed
        head = bytes([self.fin << 7 | self.reserved << 4 | self.opcode])
        if length < 126 and not self.wide:
            head += bytes([self.masked << 7 | length])
        elif length < 65536 and self.wide < 2:
            head += bytes([self.masked << 7 | 126]) + struct.pack(">H", length)
        else:
            head += bytes([self.masked << 7 | 127]) + struct.pack(">Q", length)
        if not self.masked:
            return head + self.payload
        mask = b"\x5a\x00\xff\x13"
        stream = mask * (len(self.payload) // 4 + 1)
        return head + mask + bytes(a ^ b for a, b in zip(self.payload, stream, strict=False))


texts = st.one_of(
    st.sampled_from([{"type": "recheck"}, {"type": ["recheck"]}, {"type": {}}, [], None, 0, "recheck", True]),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    ),
).map(lambda value: json.dumps(value).encode())

#: Texts with names, because they are too long to print.
ODD_TEXTS = {
    "deep": b"[" * 16_000,
    "deep objects": b'{"a":' * 3000,
    "deep and closed": b"[" * 8000 + b"]" * 8000,
    "many keys": json.dumps({f"k{n}": n for n in range(1200)}).encode(),
    "the same key": b'{"type":"recheck"' + b',"type":"recheck"' * 900 + b"}",
    "long number": b'{"type":' + b"9" * 15_000 + b"}",
    "half a character": b'{"type":"\xe2\x82"}',
    "no characters": b"\xff\xfe\xfd",
    "surrogate": b'"\xed\xa0\x80"',
    "NUL": b'{"type":"re\\u0000check"}\0',
    "nothing": b"",
    "too long": b'"' + b"x" * 20_000 + b'"',
}
payloads = st.one_of(
    texts, st.sampled_from(sorted(ODD_TEXTS)).map(ODD_TEXTS.__getitem__), st.binary(max_size=300)
)
well_formed = st.builds(Frame, payload=payloads, opcode=st.sampled_from([TEXT, 2, PING, 10]))
fragments = st.builds(Frame, payload=payloads, opcode=st.sampled_from([0, 0, TEXT]), fin=st.booleans())
malformed = st.builds(
    Frame,
    payload=payloads,
    opcode=st.integers(0, 15),
    fin=st.booleans(),
    reserved=st.integers(0, 7),
    masked=st.booleans(),
    claimed=st.none() | st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, 2**31, 2**62, 2**63, 2**64 - 1]),
    wide=st.integers(0, 2),
)
closes = st.builds(
    Frame,
    payload=st.one_of(
        st.binary(max_size=130), st.integers(0, 65535).map(lambda code: struct.pack(">H", code))
    ),
    opcode=st.just(CLOSE),
)
conversations = st.lists(
    st.one_of(well_formed, fragments, malformed, closes, st.just(Frame(b"x" * 125, PING))).map(bytes)
    | st.binary(max_size=200),
    min_size=1,
    max_size=8,
)

header_names = st.sampled_from(
    [
        *("Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Origin", "Cookie"),
        *("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Content-Length", "Transfer-Encoding"),
        *("Expect", "Accept", "X-Forwarded-For", "X-Forwarded-Proto", "Last-Event-ID", "Authorization"),
    ]
).map(str.encode) | st.binary(min_size=1, max_size=8)
header_values = st.one_of(
    st.sampled_from(
        [
            *(
                b"",
                b"websocket",
                b"Upgrade",
                b"keep-alive, Upgrade",
                b"h2c",
                b"13",
                b"8",
                b"0",
                b"-1",
                b"x",
                b"null",
            ),
            *(b"dGhlIHNhbXBsZSBub25jZQ==", b"permessage-deflate", b"chunked", b"identity", b"100-continue"),
            *(
                b"text/event-stream",
                b"http://evil.example",
                b"http://[::1",
                b"voter=x; sessionid=y",
                b"a" * 9000,
            ),
            *(b"sessionid=" + b"\xff" * 40, b'voter="\\', b"q=0.5;;;,", b"127.0.0.1"),
        ]
    ),
    st.binary(max_size=40),
)
REGULAR = [
    (b"Host", b"127.0.0.1"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
]
STREAM = [(b"Host", b"127.0.0.1"), (b"Accept", b"text/event-stream")]


@st.composite
def requests(draw: Any, path: bytes, regular: list[tuple[bytes, bytes]]) -> bytes:
    """A request with headers missing, changed, repeated or added."""
    headers = [header for header in regular if draw(st.integers(0, 7))]
    headers += draw(st.lists(st.tuples(header_names, header_values), max_size=4))
    method = draw(st.sampled_from([b"GET"] * 8 + [b"POST", b"HEAD", b"get", b"", b"\xff"]))
    version = draw(st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2", b"HTTP/9.9", b""]))
    end = draw(st.sampled_from([b"", b"", b"", b"?a=%00", b"%ff", b"\x00", b" ", b"#", b"/../", b"a" * 9000]))
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"%b %b%b %b\r\n%b\r\n" % (method, path, end, version, lines)


def handshake(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (path, b"".join(b"%b: %b\r\n" % header for header in REGULAR))


def converse(port: int, parts: list[bytes], *, polite: bool = True) -> bytes:
    """Send the parts, close the connection, and return the server's output until the server closes it too.

    If not `polite`, reset the connection and return nothing. Raise TimeoutError if the server keeps it open.
    """
    output = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            if not polite:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return output
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                output += data
        except TimeoutError:
            raise
        except OSError:
            pass  # the server has disconnected first
    return output


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
