"""Connections to a store end or fall silent, so that a request or its reply is lost."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.experiment import Fault, Scene
from tests.faults.fault_injection import FaultInjectionHarness, injection
from tests.faults.harness import Harness
from tests.faults.proxy import How, What
from tests.servers import PostgreSQL, Redis, wait_for

SETTLED = "a retry gets the outcome, the ballot counts once, and no answer is overdue"
#: Requests with these bytes, or their replies, are lost.
APPEND, COMMIT = b"landslide_append", b"COMMIT"
#: Each call to Redis is tried three times before its outcome is unknown.
TRIES = 3


def redis_of(harness: Harness) -> Redis:
    return harness.redis


def postgresql_of(harness: Harness) -> PostgreSQL:
    return harness.postgresql


def cut(
    role: str, store: Callable[[Harness], Redis | PostgreSQL], how: How, what: What, at: bytes, times: int
) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        link = injection(scene.harness).link(role, store(scene.harness))
        before, overdue = link.taken, scene.load.overdue
        link.lose(how, what, at, times)
        try:
            wait_for(lambda: link.taken >= before + times, 45, f"{times} of {at!r}")
        finally:
            link.heal()
        scene.struck(link.taken - before)
        scene.wait_for_acknowledgements(30)
        scene.load.pause()
        scene.load.wait_settled()
        late = scene.load.overdue - overdue
        scene.expect(not late, "overdue", f"{late} answers were overdue")
        scene.load.resume()

    return strike


def _row(name: str, on: str, strike: Callable[[Scene], None], *broken: str, found_by: str) -> Fault:
    return Fault(
        *(name, on, SETTLED, strike),
        broken=broken,
        found_by=found_by,
        times=3,
        harness={"kind": FaultInjectionHarness},
    )


ROWS = [
    _row(
        *("reset after the request, its reply lost", "web to Redis"),
        cut("web", redis_of, "reset", "reply", APPEND, 4 * TRIES),
        *("forgets_claims",),
        found_by="doubled",
    ),
    _row(
        *("reset, the request lost", "web to Redis"),
        cut("web", redis_of, "reset", "request", APPEND, 4 * TRIES),
        *("acknowledges_lost_answers",),
        found_by="lost",
    ),
    _row(
        *("black hole after the request", "web to Redis"),
        cut("web", redis_of, "silence", "reply", APPEND, 2 * TRIES),
        *("forgets_claims",),
        found_by="doubled",
    ),
    _row(
        *("reset after COMMIT, its reply lost", "worker to PostgreSQL"),
        cut("worker", postgresql_of, "reset", "reply", COMMIT, 3),
        *("moves_late", "ledger_unchecked"),
        found_by="tally",
    ),
    _row(
        *("reset, COMMIT lost", "worker to PostgreSQL"),
        cut("worker", postgresql_of, "reset", "request", COMMIT, 3),
        *("no_transaction", "ledger_unchecked"),
        found_by="tally",
    ),
    _row(
        *("black hole after COMMIT", "worker to PostgreSQL"),
        cut("worker", postgresql_of, "silence", "reply", COMMIT, 2),
        *("moves_late", "ledger_unchecked"),
        found_by="tally",
    ),
]
