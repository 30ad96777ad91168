"""/readyz: whether ballots are accepted, the state of each part, and degraded modes."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from analytics.health import bounded_probes, heartbeats, metrics, modes, readiness
from analytics.health.bounded_probes import ProbeRunner
from analytics.models import Halt, Pulse
from polls import secret_key
from polls.errors import LogInconsistent, LogUnsuitable
from polls.models import Poll, ProofOfWork
from tests.factories import make_poll, open_poll

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.clear()
    monkeypatch.setattr(modes, "EXPIRES_AFTER_SECONDS", 3600)
    # No probe times out because the machine is busy.
    monkeypatch.setattr(bounded_probes, "TIMEOUT_SECONDS", 60)


def ready() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def failing(name: str, error: Exception) -> ProbeRunner:
    """Return the real probes, except that probe `name` raises `error`."""

    def fail() -> None:
        raise error

    return ProbeRunner({**readiness._probes._probes, name: fail})


@pytest.fixture(autouse=True)
def worker_and_sweep_alive() -> None:
    heartbeats.record("worker one")
    heartbeats.record("sweep")


def test_ready_without_modes() -> None:
    open_poll()
    status, document = ready()
    assert (status, document["ready"], document["modes"]) == (200, True, [])
    assert {document[part] for part in readiness.PARTS} == {"ok"}


def test_modes_are_ordered_by_severity() -> None:
    poll = open_poll(proof_of_work=ProofOfWork.ON)
    Halt.objects.create(poll_id=poll.pk, reason="most failed")
    modes.publish(modes.CROWDED)
    status, document = ready()
    assert (status, document["ready"]) == (200, True)
    assert document["modes"] == ["crowded", "counting_halted", "proof_of_work"]


def test_a_mode_ends_by_itself() -> None:
    poll = open_poll()
    Poll.objects.filter(pk=poll.pk).update(proof_until=timezone.now() + timedelta(minutes=1))
    assert ready()[1]["modes"] == ["proof_of_work"]
    Poll.objects.filter(pk=poll.pk).update(proof_until=timezone.now() - timedelta(seconds=1))
    assert ready()[1]["modes"] == []


def test_only_open_polls_need_proofs() -> None:
    make_poll(proof_of_work=ProofOfWork.ON)
    assert ready()[1]["modes"] == []


def test_a_long_backlog_is_a_mode_and_one_over_the_limit_not_ready(settings: Any) -> None:
    for waiting, status, found, state in (
        (readiness.BEHIND_BALLOTS, 200, [], "ok"),
        (readiness.BEHIND_BALLOTS + 1, 200, ["counting_behind"], "ok"),
        (settings.BACKLOG_LIMIT + 1, 503, ["counting_behind"], "too_long"),
    ):
        probes = {**readiness._probes._probes, "backlog": lambda waiting=waiting: waiting}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(readiness, "_probes", ProbeRunner(probes))
            answer, document = ready()
        assert (answer, document["modes"], document["backlog"]) == (status, found, state)


@pytest.mark.parametrize(
    ("part", "error", "mode"),
    [
        ("broker", ConnectionError("gone"), "broker_away"),
        ("vote_log", ConnectionError("gone"), "log_away"),
        ("vote_log", LogInconsistent(), "log_inconsistent"),
        ("vote_log", LogUnsuitable("another log"), "log_inconsistent"),
    ],
)
def test_a_failing_part_is_reported(
    part: str, error: Exception, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_probes", failing(part, error))
    status, document = ready()
    assert document["modes"] == [mode]
    assert document[part] != "ok"
    assert status == (503 if part == "vote_log" else 200)


@pytest.mark.parametrize(
    ("log", "status"), [pytest.param("redis", 200, marks=pytest.mark.full_only), ("database", 503)]
)
def test_without_the_database_ballots_are_accepted_unless_it_is_the_log(
    log: str, status: int, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.VOTE_LOG = log
    monkeypatch.setattr(readiness, "_probes", failing("database", ConnectionError("gone")))
    answer, document = ready()
    assert (answer, document["modes"]) == (status, ["database_away"])


@pytest.mark.parametrize(
    ("name", "part", "state", "mode"),
    [("worker one", "workers", "none", "counting_stopped"), ("sweep", "beat", "silent", "sweep_stopped")],
)
def test_stopped_workers_or_beat_are_reported(name: str, part: str, state: str, mode: str) -> None:
    Pulse.objects.filter(name=name).update(seen_at=timezone.now() - heartbeats.STALE_AFTER)
    status, document = ready()
    assert (status, document[part], document["modes"]) == (200, state, [mode])
    assert "landslide_workers 1" in metrics.render() or name != "sweep"
    assert f"landslide_{'workers' if part == 'workers' else 'sweeping'} 0" in metrics.render()


def test_a_worker_with_a_wrong_clock_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    Pulse.objects.all().delete()
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
        heartbeats.record("worker one")
        heartbeats.record("sweep")
    assert ready()[1]["modes"] == []


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_wrong_clock_is_reported(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + seconds)
    status, document = ready()
    assert (status, document["clock"], document["modes"]) == (200, "off", ["clock_off"])
    offset = re.search(r"^landslide_clock_offset_seconds (\S+)$", metrics.render(), re.M)
    assert offset
    assert float(offset[1]) == pytest.approx(-seconds, abs=60)


def test_a_process_with_another_secret_key_is_not_ready(settings: Any) -> None:
    secret_key.check_secret_key()
    assert ready()[0] == 200
    settings.SECRET_KEY = "another"
    status, document = ready()
    assert (status, document["secret_key"], document["modes"]) == (503, "differs", ["secret_key_differs"])
    assert "landslide_secret_key_known 0" in metrics.render()


def test_parts_that_the_database_knows_are_unknown_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = OperationalError("gone")
    for part in ("workers", "beat", "clock", "secret_key"):
        monkeypatch.setattr(readiness, "_probes", failing(part, gone))
        status, document = ready()
        assert (status, document[part], document["modes"]) == (200, "unknown", [])


def test_readiness_works_without_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_probes", failing("published", ConnectionError("cache gone")))
    assert ready() == (200, ready()[1])
