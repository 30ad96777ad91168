"""The keepalive of all WebSockets."""

import asyncio

from config.protocols.keepalive import Keepalive


async def test_keepalive_uses_one_timer_and_none_without_connections() -> None:
    class FakeConnection:
        slot = 0
        answered = True

        def __init__(self) -> None:
            self.told: list[str] = []

        def ping(self) -> None:
            self.told.append("ping")

        def on_ping_timeout(self) -> None:
            self.told.append("on_ping_timeout")

    keepalive = Keepalive(asyncio.get_running_loop(), 3)
    connections = [FakeConnection() for _ in range(6)]
    for connection in connections:
        keepalive.add(connection)
    for _ in range(3):
        keepalive.ping_next_slot()
    assert [connection.told for connection in connections] == [["ping"]] * 6
    for connection in connections[:3]:
        connection.answered = True
    for _ in range(3):
        keepalive.ping_next_slot()
    assert all(connection.told == ["ping", "ping"] for connection in connections[:3])
    assert all(connection.told == ["ping", "on_ping_timeout"] for connection in connections[3:])
    for connection in connections:
        keepalive.discard(connection)
    keepalive.ping_next_slot()
    assert keepalive._timer is None
