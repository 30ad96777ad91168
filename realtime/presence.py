"""How many are watching a poll, over all processes, without anybody keeping a list of them.

Each process tells the others its own count through the poll's group, on change and now and
then; a process that isn't heard of any more drops out of the sum.
"""

from __future__ import annotations

#: Seconds between two tellings of an unchanged count, and until a silent process is forgotten.
SEND_SECONDS = 5.0
EXPIRE_SECONDS = 12.0


class Presence:
    """What one process knows of a poll's viewers. Times are a monotonic clock's seconds."""

    __slots__ = ("_others", "_told", "_told_at")

    def __init__(self) -> None:
        self._others: dict[str, tuple[int, float]] = {}
        self._told = -1
        self._told_at = 0.0

    def receive(self, process: str, count: int, now: float) -> None:
        self._others[process] = (count, now)

    def due(self, own: int, now: float) -> bool:
        """Whether to tell the others now; if so, counts as told."""
        if own == self._told and now - self._told_at < SEND_SECONDS:
            return False
        self._told, self._told_at = own, now
        return True

    def total(self, own: int, now: float) -> int:
        self._others = {p: (n, at) for p, (n, at) in self._others.items() if now - at < EXPIRE_SECONDS}
        return own + sum(count for count, _ in self._others.values())
