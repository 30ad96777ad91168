"""Many exceeded rate limits make a poll require proofs of work for a while."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache

from analytics.health import anomalies
from polls import clock, lifecycle
from polls.models import Poll, ProofOfWork, Record
from polls.voters import proof_policy
from polls.voters.poll_rules import get_rules
from tests.factories import make_poll, open_poll

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def middle_of_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the clock to a minute in which no other test has counted overruns."""
    cache.clear()
    at = (time.time() // 60 + 1000) * 60 + 30
    monkeypatch.setattr(clock, "now", lambda: at)


def exceed_limit(poll: Poll, times: int, kind: str = "address") -> None:
    for _ in range(times):
        anomalies.on_over_limit(sender=None, poll_id=poll.pk, kind=kind, count=1)


def requires_proof(poll: Poll) -> bool:
    return get_rules(poll.code, fresh=True).requires_proof


def test_many_overruns_require_proofs_for_a_while() -> None:
    poll = open_poll()
    exceed_limit(poll, anomalies.THRESHOLD - 1)
    assert not requires_proof(poll)
    exceed_limit(poll, 1, kind="network")
    assert requires_proof(poll)
    poll.refresh_from_db()
    assert poll.proof_until
    left = poll.proof_until - clock.utc_now()
    assert timedelta(0) < left <= proof_policy.SUSPICION_LASTS
    Poll.objects.filter(pk=poll.pk).update(proof_until=clock.utc_now() - timedelta(seconds=1))
    assert not requires_proof(poll)


def test_cached_rules_and_screens_are_updated_at_once() -> None:
    poll = open_poll()
    assert not get_rules(poll.code).requires_proof
    before = poll.revision
    exceed_limit(poll, anomalies.THRESHOLD)
    assert get_rules(poll.code).requires_proof
    poll.refresh_from_db()
    assert poll.revision > before


def test_a_suspicion_is_recorded_once_and_extended() -> None:
    poll = open_poll()
    exceed_limit(poll, anomalies.THRESHOLD)
    assert not proof_policy.suspect_attack(poll.pk)
    soon = clock.utc_now() + timedelta(minutes=2)
    Poll.objects.filter(pk=poll.pk).update(proof_until=soon)
    exceed_limit(poll, 1)
    poll.refresh_from_db()
    assert poll.proof_until and poll.proof_until > soon
    (row,) = Record.objects.filter(poll_code=poll.code, action="proof of work switched on")
    assert (row.actor, row.detail["times"]) == (proof_policy.ACTOR, anomalies.THRESHOLD)


def test_slow_overruns_are_no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = open_poll()
    for minute in range(4):
        monkeypatch.setattr(clock, "now", lambda at=1_900_000_000 // 60 * 60 + 60 * minute + 59: at)
        exceed_limit(poll, anomalies.THRESHOLD // 2)
    assert not requires_proof(poll)


def test_overruns_of_the_last_minute_count(monkeypatch: pytest.MonkeyPatch) -> None:
    poll, edge = open_poll(), 1_900_000_000 // 60 * 60
    monkeypatch.setattr(clock, "now", lambda: edge - 1)
    exceed_limit(poll, anomalies.THRESHOLD - 1)
    monkeypatch.setattr(clock, "now", lambda: edge)
    exceed_limit(poll, 1)
    assert requires_proof(poll)


def test_other_polls_are_not_affected() -> None:
    poll, other = open_poll(), open_poll()
    exceed_limit(poll, anomalies.THRESHOLD)
    assert requires_proof(poll)
    assert not requires_proof(other)


@pytest.mark.parametrize("policy", [ProofOfWork.OFF, ProofOfWork.ON])
def test_the_setting_of_the_operator_is_kept(policy: ProofOfWork) -> None:
    poll = open_poll()
    proof_policy.set_policy(poll.pk, policy, "user ann")
    exceed_limit(poll, anomalies.THRESHOLD)
    poll.refresh_from_db()
    assert poll.proof_until is None
    assert requires_proof(poll) is (policy == ProofOfWork.ON)


def test_the_operator_can_end_a_suspicion() -> None:
    poll = open_poll()
    exceed_limit(poll, anomalies.THRESHOLD)
    proof_policy.set_policy(poll.pk, ProofOfWork.AUTO, "user ann")
    assert not requires_proof(poll)


def test_only_open_polls_are_suspected() -> None:
    draft, closed = make_poll(), open_poll()
    lifecycle.close_poll(closed.pk)
    for poll in (draft, closed):
        exceed_limit(poll, anomalies.THRESHOLD)
        poll.refresh_from_db()
        assert poll.proof_until is None


@pytest.mark.parametrize("away", ["cache", "database"])
def test_the_receiver_never_raises(away: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(anomalies, *({"cache": ("cache", gone), "database": ("proof_policy", gone)}[away]))
    exceed_limit(open_poll(), anomalies.THRESHOLD)
