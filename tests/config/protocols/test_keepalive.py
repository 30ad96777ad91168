"""One timer for all viewers."""

import asyncio

from config.protocols.keepalive import Keepalive


async def test_keepalive_uses_one_timer_and_none_without_connections() -> None:
    class Line:
        slot = 0
        answered = True

        def __init__(self) -> None:
            self.told: list[str] = []

        def ping(self) -> None:
            self.told.append("ping")

        def on_ping_timeout(self) -> None:
            self.told.append("on_ping_timeout")

    keepalive = Keepalive(asyncio.get_running_loop(), 3)
    lines = [Line() for _ in range(6)]
    for line in lines:
        keepalive.add(line)
    for _ in range(3):
        keepalive.ping_next_slot()
    assert [line.told for line in lines] == [["ping"]] * 6
    for line in lines[:3]:
        line.answered = True
    for _ in range(3):
        keepalive.ping_next_slot()
    assert [line.told for line in lines] == [["ping", "ping"]] * 3 + [["ping", "on_ping_timeout"]] * 3
    for line in lines:
        keepalive.discard(line)
    keepalive.ping_next_slot()
    assert keepalive._timer is None
