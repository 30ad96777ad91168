"""WebSocket keepalive with one timer for all connections. uvicorn has two timers per connection.

Connections are spread over as many slots as the interval has seconds. Each second one slot is pinged;
connections that haven't answered its previous ping are closed.
"""

import asyncio
from itertools import cycle
from typing import Protocol


class Pinged(Protocol):
    slot: int
    answered: bool

    def ping(self) -> None: ...
    def on_ping_timeout(self) -> None: ...


class Keepalive:
    """Ping each connection every `seconds`, and close it if it doesn't answer before the next ping."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: int) -> None:
        self._loop = loop
        self._slots: list[set[Pinged]] = [set() for _ in range(max(1, seconds))]
        self._next_slot = cycle(range(len(self._slots)))
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Pinged) -> None:
        connection.slot = next(self._next_slot)
        self._slots[connection.slot].add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(1.0, self.ping_next_slot)

    def discard(self, connection: Pinged) -> None:
        self._slots[connection.slot].discard(connection)

    def ping_next_slot(self) -> None:
        slot = self._slots[self._turn]
        self._turn = (self._turn + 1) % len(self._slots)
        for connection in tuple(slot):
            if connection.answered:
                connection.answered = False
                connection.ping()
            else:
                connection.on_ping_timeout()
        self._timer = self._loop.call_later(1.0, self.ping_next_slot) if any(self._slots) else None


_keepalive: tuple[asyncio.AbstractEventLoop, Keepalive] | None = None


def shared_keepalive(loop: asyncio.AbstractEventLoop, interval: float | None) -> Keepalive | None:
    """Return the event loop's Keepalive, or None if `interval` switches pings off."""
    global _keepalive
    if not interval:
        return None
    if _keepalive is None or _keepalive[0] is not loop:
        _keepalive = loop, Keepalive(loop, int(interval))
    return _keepalive[1]
