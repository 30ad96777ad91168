"""What /readyz says: whether ballots are accepted, and what goes on with less."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from analytics import asking, health, modes
from analytics.asking import Asker
from analytics.models import Halt
from polls.models import Poll, ProofOfWork
from tests.polling import make_poll, open_poll

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.clear()
    # A busy machine is no reason to miss an answer here.
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 60)


def ready() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def failing(name: str, error: Exception) -> Asker:
    """The questions as they are, but one is answered like this."""

    def fail() -> None:
        raise error

    return Asker({**health._asker._questions, name: fail})


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
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.05)
    asker = Asker({"stuck": hang, "well": lambda: 5})
    for _ in range(3):
        found = asker.answers()
        assert isinstance(found["stuck"], TimeoutError)
        assert found["well"] == 5
    assert len(asked) == 1


def test_nothing_published_is_no_reason_not_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_asker", failing("published", ConnectionError("cache gone")))
    assert ready() == (200, ready()[1])
