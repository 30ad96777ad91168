"""The vote log is emptied, is an older copy of itself, or has a clock that ran back."""

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
EVERYTHING = b""  # is part of whatever goes by


def emptied(scene: Scene) -> None:
    """Under way: what was acknowledged and not counted yet is gone with it, and nothing else."""
    with scene.harness.redis.client() as redis:
        redis.flushall()
    scene.struck()
    _heard(scene, "emptied")
    known = {b.ballot_id for b in list(scene.journal.ballots.values()) if b.acknowledged}
    _reconcile(scene)
    _give_up(scene, known)
    _goes_on(scene)


def older_copy(scene: Scene) -> None:
    """All that was acknowledged since the copy is counted; the log knows nothing of it."""
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
    """The same while the web processes are cut off from the database, whose checkpoints would tell them."""
    harness = injection(scene.harness)
    link = harness.link("web", harness.postgresql)
    with _calm(scene):
        link.lose("silence", "request", EVERYTHING, times=1 << 30)
        copy = harness.copy_log()
    try:
        scene.wait_for_acknowledgements(40)
        scene.load.pause()
        wait_for(lambda: backlog(harness) == 0, 30, "what was accepted to be counted")
        harness.put_back(copy)
        scene.struck()
        before = scene.journal.acknowledged
        scene.load.resume()
        # Who has written what it lacks can tell; the others know that they can't.
        _heard(scene, "an older copy that the database can't tell of", "unavailable", alarm=False)
        late = scene.journal.acknowledged - before
        scene.expect(late == 0, "alarm", f"{late} ballots were acknowledged by an older copy of the log")
    finally:
        link.heal()
    wait_for(lambda: harness.http.get("/readyz").status_code in (200, 503), 60)
    _reconcile(scene)
    _goes_on(scene)


def ran_back(scene: Scene) -> None:
    """Set right again it goes on by itself; where the new time is the right one, reconcile_log says so."""
    harness = injection(scene.harness)
    with harness.wrong_clock("redis", -HOUR):
        scene.struck()
        _heard(scene, "a clock that ran back")
    scene.expect(
        scene.wait_for_acknowledgements(seconds=scene.patience),
        "accepting",
        "not although the clock is right again",
    )
    with contextlib.ExitStack() as until_the_end:
        with _calm(scene):  # or what isn't counted yet would be given up
            until_the_end.enter_context(harness.wrong_clock("redis", -HOUR))
            scene.struck()
            _reconcile(scene)
        scene.expect(
            scene.wait_for_acknowledgements(seconds=scene.patience),
            "accepting",
            "not although it was reconciled",
        )
    _goes_on(scene)


@contextmanager
def _calm(scene: Scene) -> Iterator[None]:
    """Nobody comes, and all that came is counted."""
    scene.load.pause()
    scene.load.wait_settled()
    wait_for(lambda: backlog(scene.harness) == 0, 30, "what was accepted to be counted")
    yield
    scene.load.resume()


def _heard(scene: Scene, what: str, *codes: str, alarm: bool = True) -> None:
    """Voters are told that the log needs attention (or one of `codes`), and so is whoever watches over it."""

    def refusals() -> int:
        return sum(scene.journal.answers[code] for code in ("log_inconsistent", *codes))

    before = refusals()
    try:
        wait_for(lambda: refusals() >= before + REFUSALS, scene.patience, "refusals")
    except TimeoutError:
        scene.expect(False, "alarm", f"{what}: ballots are accepted as if nothing had been")
        return
    if alarm:
        ready = scene.harness.http.get("/readyz")
        scene.expect(
            ready.status_code == 503 and "vote_log" in ready.text, "alarm", f"{what}: /readyz {ready.text}"
        )
        metrics = scene.harness.http.get("/metrics").text
        scene.expect("landslide_log_consistent 0" in metrics, "alarm", f"{what}: /metrics says it is well")


def _reconcile(scene: Scene) -> None:
    scene.harness.system.run_manage("reconcile_log", "--yes", "--discard-uncounted")


def _give_up(scene: Scene, known: set[str]) -> None:
    """What the ledger lacks by now was never promised, if it was acknowledged before the log was lost."""
    scene.load.pause()
    scene.load.wait_settled()
    wait_for(lambda: backlog(scene.harness) == 0, 30, "what was accepted to be counted")
    evidence = Evidence(scene.journal, read_stored_state(scene.harness, scene.code), [], [], str)
    gone = 0
    while lost := [ballot for ballot in lost_ballots(evidence) if ballot.ballot_id in known]:
        for ballot in lost:  # what its voter had cast before is the newest then
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
    "log_inconsistent and an alarm; reconcile_log repairs it; no counted ballot changes or counts twice"
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
    _row("vote log emptied", emptied, "makes_a_log_anew", "forgets_what_it_wrote"),
    _row("vote log set back to an old AOF", older_copy, "trusts_any_log", "forgets_what_it_wrote"),
    _row("vote log set back, database unseen", older_copy_unseen, "trusts_any_log", "forgets_what_it_wrote"),
    _row("vote log's clock an hour back", ran_back, "ignores_the_clock"),
]
