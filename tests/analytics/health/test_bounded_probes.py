"""Probes run in parallel, so a hanging probe delays no other."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from analytics.health import bounded_probes
from analytics.health.bounded_probes import ProbeRunner
from tests.servers import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stuck() -> Any:
    """A probe that hangs until the test is over, and the list of its runs."""
    over, runs = threading.Event(), []

    def hang() -> None:
        runs.append(1)
        over.wait()

    yield hang, runs
    over.set()


def test_a_hanging_probe_delays_nobody_and_is_started_once(
    stuck: tuple[Callable[[], None], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hang, runs = stuck
    monkeypatch.setattr(bounded_probes, "TIMEOUT_SECONDS", 0.05)
    runner = ProbeRunner({"stuck": hang, "well": lambda: 5})
    for _ in range(3):
        # On a busy machine the other probe may time out too.
        wait_for(lambda: (found := runner.run())["well"] == 5 and isinstance(found["stuck"], TimeoutError))
    assert len(runs) == 1
