"""A log and a clock for tests of the append queue: appends end, and time passes, when the test says."""

import threading
from collections.abc import Sequence

from polls.votelog.admission import NewBallot, Outcome
from tests.servers import wait_for


def numbers(batch: Sequence[NewBallot]) -> list[int]:
    return [int(ballot.selection) for ballot in batch]


class Store:
    """A store whose appends end when the test says. Ballot n gets round n, so that mix-ups show."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.announced: list[list[int]] = []
        self.failures: list[Exception] = []
        self.may_finish = threading.Semaphore(0)
        self.freed = False

    def append(self, batch: Sequence[NewBallot]) -> list[Outcome]:
        self.batches.append(numbers(batch))
        if not self.freed:
            self.may_finish.acquire()
        if self.failures:
            raise self.failures.pop(0)
        return [Outcome("accepted" if n % 2 else "already_voted", n) for n in numbers(batch)]

    def appended(self, accepted: Sequence[NewBallot]) -> None:
        self.announced.append(numbers(accepted))

    def free(self) -> None:
        self.freed = True
        self.may_finish.release(1000)

    def busy(self, batches: int = 1) -> None:
        wait_for(lambda: len(self.batches) == batches, what="an append to begin")


class Clock:
    """The queue's clock, which stands still: a busy machine must not look like a stuck append."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now
