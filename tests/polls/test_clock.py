"""On a host with a wrong clock, passes and proofs expire by the vote log's clock."""

import time
from typing import Any

import pytest

from polls import clock, votelog
from polls.models import Identity
from polls.voters import identity, proof_of_work
from tests.polls.voters.test_proof_of_work import solved

SECRET, VOTER = b"s" * 32, b"v" * 16
WHO = proof_of_work.Voter(7, 1, VOTER)


@pytest.fixture(params=["database", pytest.param("redis", marks=pytest.mark.full_only)])
def log(request: pytest.FixtureRequest, settings: Any, db: None) -> Any:
    settings.VOTE_LOG = request.param
    votelog.forget_log()
    yield
    votelog.forget_log()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_changes_no_expiry(
    hours: int, log: None, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PROOF_WORK = 100
    pass_ = identity.make_pass(Identity.LOGIN, 7, SECRET, VOTER)
    proof = solved(proof_of_work.new_challenge(WHO, None))
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + hours * 3601)
    votelog.sync_clock()
    assert clock.offset() == pytest.approx(-hours * 3601, abs=60)
    assert identity.read_pass(Identity.LOGIN, 7, SECRET, pass_) == VOTER
    assert proof_of_work.is_valid_proof(proof, WHO)
    later = identity.make_pass(Identity.LOGIN, 7, SECRET, VOTER)
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + identity.PASS_SECONDS + 60)
    assert identity.read_pass(Identity.LOGIN, 7, SECRET, later) is None
    assert not proof_of_work.is_valid_proof(proof, WHO)


@pytest.mark.parametrize("hours", [-1, 1])
def test_setting_the_hosts_clock_changes_no_time(
    hours: int, log: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    votelog.sync_clock()
    right, before = time.time, clock.now()
    monkeypatch.setattr(time, "time", lambda: right() + hours * 3600)
    assert clock.now() == pytest.approx(before, abs=60)
    assert clock.offset() == pytest.approx(-hours * 3600, abs=60)
