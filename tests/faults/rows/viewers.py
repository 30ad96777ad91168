"""Viewers stall, read slowly, misbehave or connect all at once, while voters vote."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import resource
from collections.abc import Awaitable, Callable

from tests.faults.experiment import Fault, Scene

#: How many viewers connect at once. At most half of this machine's limit on open files is used.
CONNECTS, MANY_CONNECTS = 1_000, 10_000
STALLED, SLOW, MALICIOUS = 25, 25, 25
#: How many connections send tiny frames without a pause, and for how many seconds. Closed ones reconnect.
FLOODS, FLOOD_SECONDS = 100, 5.0
#: The most seconds that a cast may take then. Before viewers' frames were throttled, it took 9 to 16.
SLOWEST_SECONDS = 5.0
REFUSED = ("overloaded", "unavailable", "outcome_unknown", "unknown", "internal_error")

Crowd = Callable[[int, str, int], Awaitable[int]]


def crowded(crowd: Crowd, connects: int = CONNECTS, slowest: float | None = None) -> Callable[[Scene], None]:
    """Connect a crowd of viewers, and expect every ballot to be acknowledged at its first try.

    `slowest` is the number of seconds that each cast must stay below.
    """

    def strike(scene: Scene) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        before = {code: scene.journal.answers[code] for code in REFUSED}
        acknowledged = scene.journal.acknowledged
        try:
            port = scene.harness.system.port
            came = asyncio.run(crowd(port, scene.code, min(connects, hard // 2)))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        scene.struck()
        refused = {c: n for c in REFUSED if (n := scene.journal.answers[c] - before[c])}
        scene.expect(not refused, "pace", f"ballots were refused meanwhile: {refused}")
        going_on = scene.wait_for_acknowledgements()
        scene.expect(going_on, "pace", "nothing is accepted with these viewers")
        more = scene.journal.acknowledged - acknowledged
        took = scene.load.slowest
        scene.expect(slowest is None or took < slowest, "pace", f"a cast took {took:.1f} s")
        scene.remark(f"{came:,} connections; {more:,} acknowledged during the fault")
        scene.wait_current("after the viewers have gone")

    return strike


async def all_at_once(port: int, code: str, connects: int) -> int:
    """Open all connections at once, watch for a second, and close them all."""
    lines = await asyncio.gather(*(_connect(port, code) for _ in range(connects)))
    came = [line for line in lines if line is not None]
    await asyncio.sleep(1)
    for _, writer in came:
        writer.transport.abort()
    return len(came)


async def misbehaving(port: int, code: str, _connects: int) -> int:
    """Connect viewers that never read, that read one byte at a time, or that send garbage."""
    kinds = [_stall] * STALLED + [_crawl] * SLOW + [_annoy] * MALICIOUS
    lines = await asyncio.gather(*(_connect(port, code) for _ in kinds))
    tasks = [asyncio.create_task(kind(*line)) for kind, line in zip(kinds, lines, strict=True) if line]
    await asyncio.sleep(4)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for line in lines:
        if line:
            line[1].transport.abort()
    return len(tasks)


async def tiny_frames(port: int, code: str, _connects: int) -> int:
    """Send frames of six bytes as fast as the server reads them. Reconnect when the server disconnects."""
    came = 0

    async def flood(begin: bytes, frames: bytes) -> None:
        nonlocal came
        while True:
            line = await _connect(port, code)
            if line is None:
                await asyncio.sleep(0.1)
                continue
            came += 1
            reader, writer = line
            with contextlib.suppress(OSError):
                writer.write(begin)
                while not reader.at_eof():
                    writer.write(frames)
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.transport.abort()

    kinds = [
        (b"", b"\x89\x80\0\0\0\0" * 10_000),
        (b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0" * 10_000),
        (b"", b"\x89\x80\0\0\0\0"),
        (b"", b"\x8a\x80\0\0\0\0" * 80),
    ]
    tasks = [asyncio.create_task(flood(*kinds[number % len(kinds)])) for number in range(FLOODS)]
    await asyncio.sleep(FLOOD_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return came


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(port: int, code: str) -> Line | None:
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET /ws/polls/{code}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " in head.partition(b"\r\n")[0]:
                return reader, writer
            writer.transport.abort()
    return None


async def _stall(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


async def _crawl(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(1):
        await asyncio.sleep(0.05)


async def _annoy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send unmasked frames, unknown frame types, frames that are far too long, and random bytes."""
    tricks = [
        b"\x81\x05hello",
        b"\x8f\x80abcd",
        b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd",
        b"\x82\xfe\xff\xffabcd" + os.urandom(70_000),
        b"\x89\x80abcd" * 500,
        os.urandom(5_000),
    ]
    with contextlib.suppress(OSError):
        while not reader.at_eof():
            writer.write(random.choice(tricks))
            await writer.drain()
            await asyncio.sleep(0.02)


PACE = "accepting isn't slowed down: all ballots are acknowledged"


def _row(name: str, strike: Callable[[Scene], None], *, times: int = 2, long: bool = False) -> Fault:
    return Fault(
        *(name, "web", PACE, strike),
        broken=("refuses_some_appends",),
        found_by="pace",
        times=times,
        long=long,
    )


ROWS = [
    _row("stalled, slow and malicious viewers", crowded(misbehaving)),
    _row("100 sockets that send tiny frames without end", crowded(tiny_frames, slowest=SLOWEST_SECONDS)),
    _row("1,000 connects at once", crowded(all_at_once)),
    _row("10,000 connects at once", crowded(all_at_once, MANY_CONNECTS), times=1, long=True),
]
