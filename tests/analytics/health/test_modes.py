"""What /readyz says: whether ballots are accepted, and what goes on with less."""

import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from analytics.health import bounded_probes, modes
from analytics.health import status as health
from analytics.health.bounded_probes import Asker
from analytics.models import Halt, Pulse
from polls import secret_key
from polls.models import Poll, ProofOfWork
from tests.polling import make_poll, open_poll
from tests.servers import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.clear()
    # A busy machine is no reason to miss an answer here.
    monkeypatch.setattr(bounded_probes, "PATIENCE_SECONDS", 60)


def ready() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def failing(name: str, error: Exception) -> Asker:
    """The questions as they are, but one is answered like this."""

    def fail() -> None:
        raise error

    return Asker({**health._asker._questions, name: fail})


@pytest.fixture(autouse=True)
def somebody_counts() -> None:
    health.pulse("worker one")
    health.pulse("sweep")


def test_all_is_well() -> None:
    open_poll()
    status, document = ready()
    assert (status, document["ready"], document["modes"]) == (200, True, [])
    assert {document[part] for part in health.PARTS} == {"ok"}


def test_modes_are_named_in_the_order_of_their_weight() -> None:
    poll = open_poll(proof_of_work=ProofOfWork.ON)
    Halt.objects.create(poll_id=poll.pk, reason="most failed")
    modes.publish(modes.CROWDED)
    status, document = ready()
    assert (status, document["ready"]) == (200, True)
    assert document["modes"] == ["crowded", "counting_halted", "proof_of_work"]


def test_they_end_by_themselves() -> None:
    poll = open_poll()
    Poll.objects.filter(pk=poll.pk).update(proof_until=timezone.now() + timedelta(minutes=1))
    assert ready()[1]["modes"] == ["proof_of_work"]
    Poll.objects.filter(pk=poll.pk).update(proof_until=timezone.now() - timedelta(seconds=1))
    assert ready()[1]["modes"] == []


def test_what_is_not_published_again_fades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "FADES_AFTER", 0)
    modes.publish(modes.CROWDED)
    assert modes.published() == set()


def test_a_poll_that_is_not_open_needs_no_proof() -> None:
    make_poll(proof_of_work=ProofOfWork.ON)
    assert ready()[1]["modes"] == []


def test_a_long_backlog_shows_and_one_over_the_limit_turns_away(settings: Any) -> None:
    for waiting, status, found, state in (
        (health.BEHIND, 200, [], "ok"),
        (health.BEHIND + 1, 200, ["counting_behind"], "ok"),
        (settings.BACKLOG_LIMIT + 1, 503, ["counting_behind"], "too_long"),
    ):
        questions = {**health._asker._questions, "backlog": lambda waiting=waiting: waiting}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(health, "_asker", Asker(questions))
            answer, document = ready()
        assert (answer, document["modes"], document["backlog"]) == (status, found, state)


@pytest.mark.parametrize(
    ("part", "error", "mode"),
    [
        ("broker", ConnectionError("gone"), "broker_away"),
        ("vote_log", ConnectionError("gone"), "log_away"),
        ("vote_log", health.LogInconsistent(), "log_inconsistent"),
        ("vote_log", health.LogUnsuitable("another log"), "log_inconsistent"),
    ],
)
def test_a_part_that_is_away(part: str, error: Exception, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_asker", failing(part, error))
    status, document = ready()
    assert document["modes"] == [mode]
    assert document[part] != "ok"
    assert status == (503 if part == "vote_log" else 200)


@pytest.mark.parametrize(
    ("log", "status"), [pytest.param("redis", 200, marks=pytest.mark.full_only), ("database", 503)]
)
def test_ballots_go_on_without_the_database_where_it_is_not_the_log(
    log: str, status: int, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.VOTE_LOG = log
    monkeypatch.setattr(health, "_asker", failing("database", ConnectionError("gone")))
    answer, document = ready()
    assert (answer, document["modes"]) == (status, ["database_away"])


@pytest.mark.parametrize(
    ("name", "part", "state", "mode"),
    [("worker one", "workers", "none", "counting_stopped"), ("sweep", "beat", "silent", "sweep_stopped")],
)
def test_nobody_counts(name: str, part: str, state: str, mode: str) -> None:
    Pulse.objects.filter(name=name).update(seen_at=timezone.now() - health.GONE_AFTER)
    status, document = ready()
    assert (status, document[part], document["modes"]) == (200, state, [mode])
    assert "landslide_workers 1" in health.metrics() or name != "sweep"
    assert f"landslide_{'workers' if part == 'workers' else 'sweeping'} 0" in health.metrics()


def test_a_worker_whose_clock_is_wrong_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    Pulse.objects.all().delete()
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
        health.pulse("worker one")
        health.pulse("sweep")
    assert ready()[1]["modes"] == []


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_clock_that_is_off(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + seconds)
    status, document = ready()
    assert (status, document["clock"], document["modes"]) == (200, "off", ["clock_off"])
    offset = re.search(r"^landslide_clock_offset_seconds (\S+)$", health.metrics(), re.M)
    assert offset
    assert float(offset[1]) == pytest.approx(-seconds, abs=60)


def test_a_process_with_another_secret_key_is_not_ready(settings: Any) -> None:
    secret_key.check_secret_key()
    assert ready()[0] == 200
    settings.SECRET_KEY = "another"
    status, document = ready()
    assert (status, document["secret_key"], document["modes"]) == (503, "differs", ["secret_key_differs"])
    assert "landslide_secret_key_known 0" in health.metrics()


def test_what_only_the_database_knows_is_unknown_while_it_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = OperationalError("gone")
    for part in ("workers", "beat", "clock", "secret_key"):
        monkeypatch.setattr(health, "_asker", failing(part, gone))
        status, document = ready()
        assert (status, document[part], document["modes"]) == (200, "unknown", [])


def test_every_metric_has_its_help() -> None:
    named = [line.split()[0].split("{")[0] for line in health.metrics().splitlines() if line[0] != "#"]
    assert len(named) == len(set(named)) > 5
    for name in named:
        assert f"# HELP {name} " in health.metrics()
        assert f"# TYPE {name} gauge\n" in health.metrics()


def test_every_mode_has_its_sentence() -> None:
    named = {value for name, value in vars(modes).items() if name.isupper() and isinstance(value, str)}
    assert named == set(modes.SENTENCES)


# --- questions ---


@pytest.fixture
def stuck() -> Any:
    """A question that hangs until the test is over, and how often it was asked."""
    over, asked = threading.Event(), []

    def hang() -> None:
        asked.append(1)
        over.wait()

    yield hang, asked
    over.set()


def test_one_that_hangs_keeps_nobody_and_is_not_asked_twice(
    stuck: tuple[Callable[[], None], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hang, asked = stuck
    monkeypatch.setattr(bounded_probes, "PATIENCE_SECONDS", 0.05)
    asker = Asker({"stuck": hang, "well": lambda: 5})
    for _ in range(3):
        # On a busy machine the other one may take longer, too.
        wait_for(lambda: (found := asker.answers())["well"] == 5 and isinstance(found["stuck"], TimeoutError))
    assert len(asked) == 1


def test_nothing_published_is_no_reason_not_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_asker", failing("published", ConnectionError("cache gone")))
    assert ready() == (200, ready()[1])


def test_each_figure_for_prometheus_says_what_it_is_before_it_is_told() -> None:
    said: dict[str, list[str]] = {}
    for line in health.metrics().splitlines():
        words = line.split(" ", 3)
        name = words[2] if words[0] == "#" else re.split(r"[{ ]", line)[0]
        said.setdefault(name, []).append(words[1] if words[0] == "#" else "value")
        assert words[0] != "#" or words[3].strip()
    assert "landslide_info" in said
    assert {name: kinds for name, kinds in said.items() if kinds != ["HELP", "TYPE", "value"]} == {}
