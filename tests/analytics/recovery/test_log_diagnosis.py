"""The diagnosis says what is wrong with a log, and a repair that would lose ballots needs consent."""

import uuid
from typing import Any

import pytest
from django.core.management import CommandError
from django.utils import timezone

from analytics.counting import checkpoints
from analytics.models import Checkpoint, Pulse
from analytics.recovery.log_diagnosis import diagnose
from polls import votelog
from polls.votelog import get_log
from polls.votelog.entries import Head
from tests.analytics.recovery.stores import (
    Voter,
    assert_as_before,
    copy_of,
    count_all,
    figures,
    open_poll,
    repair,
    use,
    voted,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_consistent_log_is_left_alone(backend: str, capsys: Any) -> None:
    poll = open_poll()
    cast = voted(poll)
    uncounted = voted(poll, 5, count=False)
    checkpoints = list(Checkpoint.objects.values_list())
    repair()
    assert "Nothing to do" in capsys.readouterr().out
    assert list(Checkpoint.objects.values_list()) == checkpoints
    count_all()
    assert figures(poll)["ballots"] == len(cast) + len(uncounted)


def test_ballots_accepted_by_an_older_copy_are_found(backend: str) -> None:
    poll = open_poll()
    voted(poll, 6)
    put_back = copy_of(backend)
    voted(poll, 24)
    put_back()
    # A server that doesn't know the newest checkpoint yet, and hasn't written since the copy was made, can
    # append for up to a second.
    stale = {n: Head(head.generation, 0) for n, head in votelog.expected_heads().items()}
    votelog.forget_log()
    late = [
        votelog.admission.NewBallot(poll.pk, uuid.uuid4().bytes, uuid.uuid4().bytes, "1") for _ in range(3)
    ]
    assert {outcome.code for outcome in get_log().append(late, stale)} == {"accepted"}
    with pytest.raises(CommandError, match="3 acknowledged ballots"):
        repair()
    repair(discard_uncounted=True)
    assert not diagnose().damaged


@pytest.mark.full_only
def test_an_older_copy_that_looks_consistent_is_rebuilt_on_demand(settings: Any) -> None:
    """The copy lacks ballots that were acknowledged but not counted, so servers refuse it until a repair."""
    use(settings, "redis")
    poll = open_poll()
    voted(poll, 6)
    put_back = copy_of("redis")
    voted(poll, 60, count=False)
    put_back()
    status, refused = Voter(poll).cast([1])
    assert (status, refused["code"]) == (503, "log_inconsistent")
    votelog.forget_log()  # the command runs in a new process, which hasn't used the log yet
    assert not diagnose().damaged
    repair(all=True)
    voted(poll, 12)


@pytest.mark.full_only
def test_uncounted_ballots_of_the_old_backend_are_given_up_only_on_demand(settings: Any) -> None:
    use(settings, "redis")
    poll = open_poll()
    voted(poll, 10)
    voted(poll, 7, count=False)
    use(settings, "database", 1)
    with pytest.raises(CommandError, match="7 acknowledged ballots"):
        repair()
    use(settings, "redis")
    count_all()
    use(settings, "database", 1)
    repair()
    assert figures(poll)["ballots"] == 17
    assert Voter(poll).cast([1])[0] == 202


@pytest.mark.full_only
def test_an_unreadable_old_backend_is_given_up_only_on_demand(settings: Any) -> None:
    use(settings, "redis")
    poll = open_poll()
    cast = voted(poll)
    settings.VOTE_LOG_REDIS_URL = "redis://127.0.0.1:1/0"
    use(settings, "database", 1)
    with pytest.raises(CommandError, match="can't be read"):
        repair()
    repair(discard_uncounted=True)
    assert_as_before(poll, cast)


@pytest.mark.full_only
def test_the_backend_is_not_changed_while_workers_run(settings: Any) -> None:
    use(settings, "redis")
    voted(open_poll())

    Pulse.objects.create(name="worker one", seen_at=timezone.now())
    use(settings, "database", 1)
    with pytest.raises(CommandError, match="Stop all servers"):
        repair()


@pytest.mark.full_only
def test_positions_from_before_a_trim_raise_no_alarm(settings: Any) -> None:
    use(settings, "redis", 1)
    poll = open_poll()
    voted(poll, 3)
    known = checkpoints.expected_heads()
    voted(poll, 5)
    get_log().trim(0, 8)
    checkpoints.compare(known)
