"""The vote log is emptied, is replaced by an older copy of itself, or its clock runs backwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.checks import Evidence, lost_ballots
from tests.faults.experiment import Fault, Scene
from tests.faults.fault_injection import FaultInjectionHarness, injection
from tests.faults.journal import Submitted
from tests.faults.stored_state import backlog, read_stored_state
from tests.servers import wait_for

HOUR = 3600
REFUSALS = 5
EVERYTHING = b""  # every request contains it


def emptied(scene: Scene) -> None:
    """Empty the log while voters vote. Only acknowledged ballots that weren't counted yet may be lost."""
    with scene.harness.redis.client() as redis:
        redis.flushall()
    scene.struck()
    _heard(scene, "emptied")
    known = {b.ballot_id for b in list(scene.journal.ballots.values()) if b.acknowledged}
    _reconcile(scene)
    _give_up(scene, known)
    _goes_on(scene)


def older_copy(scene: Scene) -> None:
    """Replace the log by an older copy, which lacks counted ballots."""
    with _calm(scene):
        copy = injection(scene.harness).copy_log()
    scene.wait_for_acknowledgements(40)
    with _calm(scene):
        injection(scene.harness).put_back(copy)
    scene.struck()
    _heard(scene, "an older copy")
    _reconcile(scene)
    _goes_on(scene)


def older_copy_unseen(scene: Scene) -> None:
    """Replace the log by an older copy while the web processes can't read the database's checkpoints."""
    harness = injection(scene.harness)
    link = harness.link("web", harness.postgresql)
    with _calm(scene):
        link.lose("silence", "request", EVERYTHING, times=1 << 30)
        copy = harness.copy_log()
    try:
        scene.wait_for_acknowledgements(40)
        scene.load.pause()
        wait_for(lambda: backlog(harness) == 0, 30, "accepted ballots to be counted")
        harness.put_back(copy)
        scene.struck()
        before = scene.journal.acknowledged
        scene.load.resume()
        # A process notices if the copy lacks an entry that it wrote itself. The other processes know that
        # they can't check the copy.
        _heard(scene, "an older copy, with the database cut off", "unavailable", alarm=False)
        late = scene.journal.acknowledged - before
        scene.expect(late == 0, "alarm", f"{late} ballots were acknowledged by an older copy of the log")
    finally:
        link.heal()
    wait_for(lambda: harness.http.get("/readyz").status_code in (200, 503), 60)
    _reconcile(scene)
    _goes_on(scene)


def ran_back(scene: Scene) -> None:
    """Set the log's clock back.

    Once the clock is right again, ballots are accepted again by themselves. If the earlier time was the right
    one, they are accepted again after reconcile_log.
    """
    harness = injection(scene.harness)
    with harness.wrong_clock("redis", -HOUR):
        scene.struck()
        _heard(scene, "a clock that ran backwards")
    scene.expect(
        scene.wait_for_acknowledgements(seconds=scene.patience),
        "accepting",
        "nothing is accepted although the clock is right again",
    )
    with contextlib.ExitStack() as until_the_end:
        with _calm(scene):  # else reconcile_log would discard uncounted ballots
            until_the_end.enter_context(harness.wrong_clock("redis", -HOUR))
            scene.struck()
            _reconcile(scene)
        scene.expect(
            scene.wait_for_acknowledgements(seconds=scene.patience),
            "accepting",
            "nothing is accepted after reconcile_log",
        )
    _goes_on(scene)


@contextmanager
def _calm(scene: Scene) -> Iterator[None]:
    """Pause the load, with every accepted ballot counted."""
    scene.load.pause()
    scene.load.wait_settled()
    wait_for(lambda: backlog(scene.harness) == 0, 30, "accepted ballots to be counted")
    yield
    scene.load.resume()


def _heard(scene: Scene, what: str, *codes: str, alarm: bool = True) -> None:
    """Expect refusals with log_inconsistent or one of `codes`, and alarms in /readyz and /metrics."""

    def refusals() -> int:
        return sum(scene.journal.answers[code] for code in ("log_inconsistent", *codes))

    before = refusals()
    try:
        wait_for(lambda: refusals() >= before + REFUSALS, scene.patience, "refusals")
    except TimeoutError:
        scene.expect(False, "alarm", f"{what}: ballots are accepted as before")
        return
    if alarm:
        # A process may compare the log with positions that it read before the damage. That first answer makes
        # it read them again.
        ready: list[str] = []

        def alarmed() -> bool:
            answer = scene.harness.http.get("/readyz")
            ready[:] = [answer.text]
            return answer.status_code == 503 and "vote_log" in answer.text

        with contextlib.suppress(TimeoutError):
            wait_for(alarmed, scene.patience)
        scene.expect(alarmed(), "alarm", f"{what}: /readyz {ready[0]}")
        metrics = scene.harness.http.get("/metrics").text
        scene.expect("landslide_log_consistent 0" in metrics, "alarm", f"{what}: /metrics has no alarm")


def _reconcile(scene: Scene) -> None:
    scene.harness.system.run_manage("reconcile_log", "--yes", "--discard-uncounted")


def _give_up(scene: Scene, known: set[str]) -> None:
    """Don't expect the ledger to have those `known` ballots that were lost with the log."""
    scene.load.pause()
    scene.load.wait_settled()
    wait_for(lambda: backlog(scene.harness) == 0, 30, "accepted ballots to be counted")
    evidence = Evidence(scene.journal, read_stored_state(scene.harness, scene.code), [], [], str)
    gone = 0
    while lost := [ballot for ballot in lost_ballots(evidence) if ballot.ballot_id in known]:
        for ballot in lost:  # the voter's previous ballot then counts as the newest, and may be lost too
            _release(ballot)
        gone += len(lost)
    scene.remark(f"{gone} acknowledged, uncounted ballots were lost with the log")
    scene.load.resume()


def _release(ballot: Submitted) -> None:
    ballot.receipts.clear()
    ballot.refused = "lost_with_the_log"


def _goes_on(scene: Scene) -> None:
    scene.expect(
        scene.wait_for_acknowledgements(seconds=scene.patience),
        "accepting",
        "nothing is accepted after reconcile_log",
    )
    scene.wait_current("after reconcile_log")


EXPECTED = (
    "log_inconsistent and an alarm; reconcile_log repairs it, and no counted ballot changes or counts twice"
)


def _row(name: str, strike: object, *broken: str, long: bool = False) -> Fault:
    return Fault(
        *(name, "Redis", EXPECTED, strike),  # type: ignore[arg-type]
        broken=broken,
        found_by="alarm",
        times=2,
        harness={"kind": FaultInjectionHarness},
        damages=True,
        long=long,
    )


ROWS = [
    _row("vote log emptied", emptied, "recreates_the_log", "forgets_what_it_wrote"),
    _row("vote log set back to an old AOF", older_copy, "trusts_any_log", "forgets_what_it_wrote"),
    _row("vote log set back, database unseen", older_copy_unseen, "trusts_any_log", "forgets_what_it_wrote"),
    _row("vote log's clock an hour back", ran_back, "ignores_the_clock"),
]
