"""Random quarantines, replacements and releases, in batches of any size, against a model without batches."""

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.counting import batches
from analytics.models import Quarantine
from analytics.quarantine import decisions
from analytics.results import anonymity_threshold
from polls.casting.receipts import make_receipt
from polls.models import Ballot
from polls.votelog import get_log
from polls.votelog.admission import NewBallot
from polls.votelog.entries import partition_of
from tests.factories import append, check_books, count, new_ballot, open_poll

pytestmark = [pytest.mark.django_db, pytest.mark.early]

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
VOTERS = 6
voters, choices = st.integers(0, VOTERS - 1), st.integers(1, 3)
OPERATIONS = st.one_of(
    st.tuples(st.just("cast"), voters, choices, st.sampled_from(["", "", "over_limit"])),
    st.tuples(st.just("count"), st.integers(0, 3), st.just(0), st.just("")),
    st.tuples(st.just("receipts"), voters, st.integers(0, 3), st.just("")),
    st.tuples(
        st.sampled_from(["stand", "end", "release", "all"]), st.integers(0, 3), st.just(0), st.just("")
    ),
)


@dataclass
class Model:
    """The expected ballots, by simple rules without batches."""

    #: Each voter's choice, and the rule or decision that quarantined the ballot.
    kept: dict[int, tuple[int, str]] = field(default_factory=dict)
    waiting: list[tuple[int, int, str]] = field(default_factory=list)

    def count(self, voter: int, choice: int, rule: str) -> None:
        before = self.kept.get(voter, (0, ""))[1]
        self.kept[voter] = choice, before or rule  # a replacement stays in quarantine

    def count_some(self, mine: set[int]) -> None:
        for each in [each for each in self.waiting if each[0] in mine]:
            self.waiting.remove(each)
            self.count(*each)

    def books(self) -> Counter[tuple[int, str]]:
        counts: Counter[tuple[int, str]] = Counter()
        for choice, apart in self.kept.values():
            prefix = "quarantined:" if apart else ""
            counts.update([(1, prefix + "ballots"), (1, f"{prefix}{choice}")])
        return counts


class Poll:
    """A poll and its model. Each operation is applied to both."""

    def __init__(self) -> None:
        self.poll, self.model = open_poll(revote=True), Model()
        self.last: dict[int, NewBallot] = {}
        self.standing: list[int] = []  # decisions that quarantine new ballots, oldest first

    def cast(self, voter: int, choice: int, quarantine_rule: str) -> None:
        before = self.last.get(voter)
        ballot = new_ballot(
            self.poll,
            voter,
            choice,
            quarantine_rule=quarantine_rule,
            replaces=before.ballot_id if before else None,
        )
        assert append(ballot)[0].code == "accepted"
        self.last[voter] = ballot
        apart = quarantine_rule or (f"{self.standing[0]}" if self.standing else "")
        self.model.waiting.append((voter, choice, apart))

    def count(self, partition: int, _: int, __: str) -> None:
        log = get_log()
        partition %= log.partitions
        mine = {voter for voter in range(VOTERS) if self.partition_of(voter) == partition}
        batches.count_partition(partition)
        self.model.count_some(mine)

    def partition_of(self, voter: int) -> int:
        return partition_of(self.poll.pk, voter.to_bytes(16, "big"), get_log().partitions)

    def all(self, *_: Any) -> None:
        count()
        self.model.count_some(set(range(VOTERS)))

    def receipts(self, first: int, how_many: int, _: str) -> None:
        some = [voter for voter in range(first, first + how_many + 1) if voter in self.last]
        ballots = [self.last[voter] for voter in some]
        given = [make_receipt(self.poll.pk, 1, each.voter_key, each.ballot_id) for each in ballots]
        decision = decisions.quarantine_receipts(self.poll, given, "Sold", "user ann").decision
        for voter in some:
            if voter in self.model.kept and not self.model.kept[voter][1]:
                assert decision is not None
                self.model.kept[voter] = self.model.kept[voter][0], str(decision.pk)

    def stand(self, *_: Any) -> None:
        time.sleep(0.002)  # times are milliseconds
        self.standing.append(decisions.quarantine_new_ballots(self.poll, "A bot", "user ann").pk)

    def end(self, which: int, *_: Any) -> None:
        if self.standing:
            time.sleep(0.002)
            decisions.end(self.standing.pop(which % len(self.standing)), "user ann")
            time.sleep(0.002)

    def release(self, which: int, *_: Any) -> None:
        self.all()  # otherwise uncounted ballots could still join the decision, which another test covers
        open_ = Quarantine.objects.filter(poll_id=self.poll.pk, released_at=None).order_by("pk")
        if not open_:
            return
        decision = open_[which % len(open_)]
        decisions.release(decision.pk, "user ann")
        self.standing = [each for each in self.standing if each != decision.pk]
        name = str(decision.pk) if decision.rule == "operator" else decision.rule
        for voter, (choice, apart) in self.model.kept.items():
            if apart == name:
                self.model.kept[voter] = choice, ""


@given(operations=st.lists(OPERATIONS, max_size=40), batch=st.sampled_from([1, 3, 1000]))
@settings(max_examples=EXAMPLES or 25)
def test_batches_count_as_if_one_ballot_at_a_time(
    operations: list[tuple[str, int, int, str]], batch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anonymity_threshold, "LEAST", 1)
        patch.setattr("django.conf.settings.COUNT_BATCH", batch)
        poll = Poll()
        for name, *given_ in operations:
            getattr(poll, name)(*given_)
            assert check_books(poll.poll) == poll.model.books()
        poll.all()
    assert check_books(poll.poll) == poll.model.books()
    # Only each voter's last ballot is in the ledger, counted or quarantined.
    assert Ballot.objects.filter(poll_id=poll.poll.pk).count() == len(poll.last)
    for voter, ballot in poll.last.items():
        row = Ballot.objects.get(poll_id=poll.poll.pk, voter_key=voter.to_bytes(16, "big"))
        assert bytes(row.ballot_id) == ballot.ballot_id
        name = poll.model.kept[voter][1]
        decision = Quarantine.objects.filter(pk=row.quarantine_id).first()
        assert bool(name) == (decision is not None)
        if decision is not None:
            assert name == (str(decision.pk) if decision.rule == "operator" else decision.rule)
