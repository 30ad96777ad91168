"""The clock of a web process or a worker is an hour wrong. Polls must still follow the store's clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

from tests.faults.experiment import Fault, Scene
from tests.faults.fault_injection import FaultInjectionHarness, injection
from tests.servers import wait_for

HOUR = 3600
OPEN_SECONDS = 8.0  # how long the poll with a closing time is open


def clock_off(role: str, seconds: int) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        began = time.time()
        closes_at = began + OPEN_SECONDS
        code = scene.harness.make_poll(3, closes_at=datetime.fromtimestamp(closes_at, UTC).isoformat())
        scene.harness.step(code, "open")
        with injection(scene.harness).wrong_clock(role, seconds):
            scene.wait_for_acknowledgements(30)
            scene.struck()
            _hold_to_its_time(scene, code, closes_at)
            scene.wait_current(f"with {role} {seconds:+} s off")
            _look_at_history(scene, began)

    return strike


def _hold_to_its_time(scene: Scene, code: str, closes_at: float) -> None:
    """Expect the poll to stay open until `closes_at`, then to refuse ballots and to close."""
    wait_for(lambda: time.time() > closes_at - 3, 30)
    state, asked = scene.harness.http.get(f"/api/v1/polls/{code}/").json()["state"], time.time()
    if asked < closes_at - 0.2:
        scene.expect(state == "open", "gate", f"{closes_at - asked:.1f} s before closing it is {state}")
        answer = _cast(scene, code, "early enough")
        if time.time() < closes_at - 0.2:
            scene.expect(answer == "accepted", "gate", f"the answer to a ballot before closing: {answer}")
    wait_for(lambda: time.time() > closes_at + 0.2, 30)
    answer = _cast(scene, code, "too late")
    scene.expect(answer == "poll_not_open", "gate", f"the answer to a ballot after closing: {answer}")
    with contextlib.suppress(TimeoutError):
        wait_for(lambda: _state(scene, code) == "closed", scene.patience)
    scene.expect(
        _state(scene, code) == "closed", "gate", f"after its closing time the poll is {_state(scene, code)}"
    )


def _state(scene: Scene, code: str) -> str:
    return str(scene.harness.http.get(f"/api/v1/polls/{code}/").json()["state"])


def _cast(scene: Scene, code: str, voter: str) -> str:
    body = {"selections": [1], "voter": voter}
    document = scene.harness.http.post(f"/api/v1/polls/{code}/ballots/", json=body).json()
    return str(document.get("status") if "receipt" in document else document["code"])


def _look_at_history(scene: Scene, began: float) -> None:
    """Expect the tally's history to have times by the log's clock."""
    with scene.harness.connect() as database:
        row = database.execute(
            "SELECT MIN(second), MAX(second) FROM analytics_tallypoint"
            " WHERE poll_id = (SELECT id FROM polls_poll WHERE code = %s)",
            (scene.code,),
        ).fetchone()
    assert row
    first, last = row
    holds = first is not None and began - 600 < first <= last <= time.time() + 2
    scene.expect(holds, "history", f"points from {first} to {last}; now is {time.time():.0f}")


EXPECTED = "polls open and close by the store's clock; counting continues"


def _row(role: str, seconds: int, broken: str) -> Fault:
    how = "ahead" if seconds > 0 else "behind"
    return Fault(
        *(f"clock an hour {how}", role, EXPECTED, clock_off(role, seconds)),
        broken=(broken,),
        found_by="gate",
        times=2,
        harness={"kind": FaultInjectionHarness},
        long=role == "web" and seconds > 0,
    )


ROWS = [
    _row("web", HOUR, "ignores_gate"),
    _row("web", -HOUR, "ignores_gate"),
    _row("worker", HOUR, "uses_its_own_clock"),
    _row("worker", -HOUR, "uses_its_own_clock"),
]
