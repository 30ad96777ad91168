"""A raw WebSocket client, for valid and invalid frames."""

import asyncio
import socket

from websockets.frames import Frame, Opcode

from realtime.protocol import Message
from tests.servers import PATIENCE

TALLY = Message({"type": "tally", "ballots": 7})


async def raw_socket(
    port: int, headers: bytes = b"", early: bytes = b"", **options: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a WebSocket without a client library that would answer pings or refuse invalid frames."""
    sock = socket.socket()
    if "receive_buffer" in options:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["receive_buffer"])
    sock.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write(
        b"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"%b\r\n%b" % (headers, early)
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


def masked(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


async def close_code(reader: asyncio.StreamReader) -> int:
    """Read until the server disconnects, and return the code of its close frame."""
    data = await asyncio.wait_for(reader.read(), PATIENCE)
    at = data.index(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4], "big")
