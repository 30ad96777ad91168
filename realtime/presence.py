"""Counts a poll's viewers over all processes, without a shared list of them.

Each process sends its own count to the others through the poll's Channels group, on change and every few
seconds. A count that isn't sent again expires.
"""

from dataclasses import dataclass, field

SEND_SECONDS = 5.0  # the time between two messages with an unchanged count
EXPIRE_SECONDS = 12.0  # after this time the count of a silent process is dropped


@dataclass(slots=True)
class Presence:
    """The numbers of a poll's viewers in each process. Times are seconds of a monotonic clock."""

    _others: dict[str, tuple[int, float]] = field(default_factory=dict)
    _sent: int = -1
    _sent_at: float = 0.0

    def receive(self, process: str, count: int, now: float) -> None:
        self._others[process] = (count, now)

    def due(self, own: int, now: float) -> bool:
        """Return whether to send this process's count to the others now. If so, note the count as sent."""
        if own == self._sent and now - self._sent_at < SEND_SECONDS:
            return False
        self._sent, self._sent_at = own, now
        return True

    def total(self, own: int, now: float) -> int:
        self._others = {p: (n, at) for p, (n, at) in self._others.items() if now - at < EXPIRE_SECONDS}
        return own + sum(count for count, _ in self._others.values())
