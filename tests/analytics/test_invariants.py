"""Whatever is done in whatever order, the invariants hold: see the design's list of them."""

import contextlib
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from analytics import counting, tallies
from analytics.models import Checkpoint
from polls import lifecycle
from polls.models import Ballot, DeadLetter, Poll, Round, State
from polls.votelog import get_log
from polls.votelog.base import NewBallot, Outcome
from tests.polling import append, check_books, count, new_ballot, open_poll

voters = st.integers(0, 4)
choices = st.integers(1, 3)


class LifeOfAPoll(RuleBasedStateMachine):
    """Voters cast, repeat and change ballots, staff moves the poll, workers count, and die while they do."""

    def __init__(self) -> None:
        super().__init__()
        self.poll = open_poll(revote=True)
        self.current: dict[tuple[int, int], NewBallot] = {}  # (round, voter): the ballot that must count
        self.accepted: list[tuple[NewBallot, int]] = []
        self.gate: bool | None = True  # open? None: whoever died may have left it open
        self.stamp = (0, 0, 0)

    @property
    def ballots_in_round(self) -> int:
        return sum(round_ == self.poll.round for _, round_ in self.accepted)

    def send(self, ballot: NewBallot, refusal: str | None) -> None:
        """By the rules for a ballot that meets an open gate, and for one that doesn't."""
        (outcome,) = append(ballot)
        if self.gate is None and outcome.code == "poll_not_open":
            self.gate = False
        if self.gate is False:
            assert outcome.code == "poll_not_open"
        elif refusal:
            assert outcome.code == refusal
        else:
            assert outcome == Outcome("accepted", self.poll.round)
            voter = int.from_bytes(ballot.voter_key, "big")
            self.current[self.poll.round, voter] = ballot
            self.accepted.append((ballot, self.poll.round))

    @rule(voter=voters, choice=choices)
    def cast(self, voter: int, choice: int) -> None:
        voted = (self.poll.round, voter) in self.current
        self.send(new_ballot(self.poll, voter, choice), "already_voted" if voted else None)

    @rule(voter=voters, choice=choices, rightly=st.booleans())
    def change(self, voter: int, choice: int, rightly: bool) -> None:
        before = self.current.get((self.poll.round, voter))
        if before is None:
            return
        replaces = before.ballot_id if rightly else b"?" * 16
        ballot = new_ballot(self.poll, voter, choice, replaces=replaces)
        self.send(ballot, None if rightly else "already_voted")

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The same ballot_id gives the same receipt, after whatever happened."""
        ballot, round_ = data.draw(st.sampled_from(self.accepted[-20:]))
        assert append(ballot) == [Outcome("accepted", round_, repeated=True)]

    @rule(dying=st.sampled_from([None, None, "ledger.write", "slots.add", "_set_aside"]))
    def work(self, dying: str | None) -> None:
        """A worker counts all partitions, or dies in the first one where it gets that far."""
        if dying is None:
            count()
        else:
            dead = mock.patch(f"analytics.counting.{dying}", side_effect=MemoryError)
            with dead, contextlib.suppress(MemoryError):
                count()
        self.look()

    @precondition(lambda self: self.poll.state == State.OPEN and self.ballots_in_round > 1)
    @rule(dies=st.booleans())
    def close(self, dies: bool) -> None:
        if dies:
            with mock.patch("polls.lifecycle._set_gates"):
                lifecycle.close_poll(self.poll.pk)
        else:
            lifecycle.close_poll(self.poll.pk)
        self.gate = None if dies else False
        self.look()

    @precondition(lambda self: self.poll.state in (State.OPEN, State.CLOSED) and self.ballots_in_round > 1)
    @rule()
    def reset_and_open(self) -> None:
        lifecycle.reset_poll(self.poll.pk)
        lifecycle.open_poll(self.poll.pk)
        self.gate = True
        self.look()

    @rule()
    def sweep(self) -> None:
        lifecycle.follow_gates()
        counting.settle_closings()
        if self.gate is None:
            self.gate = False
        self.look()

    def look(self) -> None:
        self.poll = Poll.objects.get(pk=self.poll.pk)

    @invariant()
    def books_balance(self) -> None:
        check_books(self.poll)

    @invariant()
    def nothing_counts_that_was_not_accepted(self) -> None:
        known = {(round_, ballot.voter_key, ballot.ballot_id) for ballot, round_ in self.accepted}
        rows = Ballot.objects.filter(poll_id=self.poll.pk).values_list("round", "voter_key", "ballot_id")
        assert {(round_, bytes(voter), bytes(ballot)) for round_, voter, ballot in rows} <= known

    @invariant()
    def what_viewers_order_by_never_decreases(self) -> None:
        stamp = tallies.snapshot(self.poll).stamp
        assert stamp >= self.stamp
        self.stamp = stamp

    @invariant()
    def a_closed_round_is_whole(self) -> None:
        if self.poll.state == State.CLOSED:
            assert self.counted(self.poll.round) == self.expected(self.poll.round)
            result = Round.objects.get(poll=self.poll, number=self.poll.round).result
            assert result["ballots"] == len(self.expected(self.poll.round))

    def counted(self, round_: int) -> dict[bytes, tuple[bytes, str]]:
        rows = Ballot.objects.filter(poll_id=self.poll.pk, round=round_)
        return {
            bytes(voter): (bytes(ballot), selection)
            for voter, ballot, selection in rows.values_list("voter_key", "ballot_id", "selection")
        }

    def expected(self, round_: int) -> dict[bytes, tuple[bytes, str]]:
        return {
            ballot.voter_key: (ballot.ballot_id, ballot.selection)
            for (number, _), ballot in self.current.items()
            if number == round_
        }

    def teardown(self) -> None:
        lifecycle.follow_gates()
        count()
        counting.settle_closings()
        self.look()
        check_books(self.poll)
        for round_ in range(1, self.poll.round + 1):
            assert self.counted(round_) == self.expected(round_)
        assert self.poll.state != State.CLOSING
        assert not DeadLetter.objects.exists()
        heads = get_log().heads()
        assert {row.partition: row.position for row in Checkpoint.objects.all()} == {
            partition: head.position for partition, head in heads.items()
        }


@pytest.mark.django_db
@pytest.mark.usefixtures("each_log")
def test_the_invariants_hold() -> None:
    quick = settings(
        max_examples=12,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(LifeOfAPoll, settings=quick)
