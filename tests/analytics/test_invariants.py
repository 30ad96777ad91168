"""The invariants of docs/design.md hold after any operations in any order.

A stateful test runs the product's code on real stores: a poll's life in long random steps, with crashes.
After each step the poll is compared with a model (poll_state_machine.py, poll_model.py). With HUNT_EXAMPLES
and HUNT_STEPS there are more and longer runs, different each time. A failure is shrunk and printed as a
program.
"""

import json
import os
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection
from django.db.models import F
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from analytics import tasks
from analytics.audit import recount
from analytics.counting import batches, circuit_breaker, dead_letters
from analytics.models import Checkpoint, Tally, TallyPoint
from analytics.recovery import log_diagnosis, reconcile
from polls import lifecycle, votelog
from polls.casting import batch
from polls.casting.request import CastRequest
from polls.errors import IllegalState, LogInconsistent
from polls.models import ApiClient, DeadLetter, Round
from polls.votelog import get_log
from polls.votelog.admission import NewBallot
from tests.analytics import poll_model
from tests.analytics.poll_model import DEAD_LETTER, REJECTED, WAITING, Cast
from tests.analytics.poll_state_machine import (
    BROWSERS,
    CLIENTS,
    REMEMBERED,
    PollStateMachine,
    crashing,
    empty_log,
    store_that_is,
)

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
STEPS = int(os.environ.get("HUNT_STEPS", "50"))
BATCH = 4

everybody = st.sampled_from([*BROWSERS, *CLIENTS])
marks = st.sampled_from([(1,), (2,), (3,), (2, 1), (1, 3), (1, 1), (9,), ()])
#: Functions of counting before or after which a worker crashes.
COUNTING_STEPS = [
    *("analytics.counting.batches._lock_checkpoint", "analytics.counting.batches._check_log"),
    *(
        "analytics.counting.ledger.write",
        "analytics.counting.ballot_rows.insert",
        "analytics.counting.ledger._replace",
    ),
    *(
        "analytics.counting.tally_deltas.add",
        "analytics.counting.block_counting._add_dead_letters",
        "analytics.counting.batches._move_checkpoint",
    ),
    *("analytics.counting.closing.close_counted_polls", "polls.lifecycle.finish_closing"),
]
LIFECYCLE_STEPS = ["polls.lifecycle._set_gates", "polls.lifecycle._send_poll_changed"]
places = st.tuples(st.sampled_from(["before", "after"]), st.integers(1, 3))


class VotingMachine(PollStateMachine):
    """Voters cast, repeat and change ballots, staff take lifecycle steps, workers count. Any may crash."""

    # --- casting ---

    @rule(
        voter=everybody,
        marks=marks,
        replaces=st.sampled_from(["current", "current", "nothing", "another"]),
        round_=st.sampled_from(["none", "now", "now", "stale"]),
    )
    def cast(self, voter: int, marks: tuple[int, ...], replaces: str, round_: str) -> None:
        self.send(self.new_cast(voter, marks, replaces, round_))

    @precondition(lambda self: self.casts)
    @rule(data=st.data(), other_marks=st.booleans())
    def cast_again(self, data: st.DataObject, other_marks: bool) -> None:
        """Send an earlier ballot_id again, perhaps with other marks."""
        cast = self.again(data.draw(st.sampled_from(self.casts[-20:])))
        if other_marks:
            cast.marks = (1 + len(self.casts) % 3,)
        self.send(cast)

    @rule(
        ballots=st.lists(
            st.tuples(st.sampled_from([*CLIENTS]), marks, st.sampled_from(["current", "nothing", "again"])),
            min_size=1,
            max_size=6,
        ),
        store=st.sampled_from(["well", "well", "twice", "silent", "deaf"]),
    )
    def cast_batch(self, ballots: list[tuple[int, tuple[int, ...], str]], store: str) -> None:
        """An API client sends a batch. The store may run it twice, or fail before or after it."""
        casts: list[Cast] = []
        for voter, marks, how in ballots:
            if how == "again" and self.casts:
                known = [cast for cast in self.casts if cast.voter in CLIENTS] or self.casts
                casts += [self.again(known[-1])] if known[-1].voter in CLIENTS else []
            else:
                casts.append(self.new_cast(voter, marks, how.replace("again", "nothing"), "now"))
        body = json.dumps({"ballots": [self.as_sent(cast) for cast in casts]}).encode()
        asked = CastRequest(self.poll.code, body, "application/json", "", authorization=f"Api-Key {self.key}")
        if self.model.broken:
            store = "well"
        with store_that_is(store):
            outcomes = json.loads(batch.cast_batch(asked).body)["outcomes"]
        expected = [self.expected(cast) for cast in casts] if store != "deaf" else []
        if store == "twice":
            expected = [self.expected(cast) for cast in casts]
        for index, (cast, outcome) in enumerate(zip(casts, outcomes, strict=True)):
            assert outcome["index"] == index
            if store in ("silent", "deaf") and self.model.allows(cast.marks):
                assert outcome["code"] == "outcome_unknown"
            else:
                self.check_answer(cast, outcome, *(expected[index] if expected else ("invalid_selection", 0)))

    @precondition(lambda self: not self.model.broken)
    @rule(voter=everybody, revoting=st.booleans())
    def poison(self, voter: int, revoting: bool) -> None:
        """Append an invalid ballot. It is accepted, but can't be counted until the rules are repaired."""
        cast = self.new_cast(voter, (4,), "current" if revoting else "nothing", "none")
        new = NewBallot(self.poll.pk, self.model.keys[voter], cast.ballot_id, "4", None, cast.replaces)
        (outcome,) = get_log().append([new], votelog.expected_heads(max_age=0))
        assert (outcome.code, outcome.round) == self.model.cast(self.again(cast))

    # --- lifecycle ---

    @rule(step=st.sampled_from(["open", "open", "close", "publish", "reset"]))
    def move(self, step: str) -> None:
        if not self.model.may(step):
            with pytest.raises(IllegalState):
                lifecycle.STEPS[step](self.poll.pk)
            return
        lifecycle.STEPS[step](self.poll.pk)
        self.model.decide(step)
        if not self.model.broken:
            self.model.set_missing_gates()

    @precondition(lambda self: not self.model.broken)
    @rule(
        step=st.sampled_from(["open", "close", "reset"]), place=places, where=st.sampled_from(LIFECYCLE_STEPS)
    )
    def move_and_die(self, step: str, place: tuple[str, int], where: str) -> None:
        """Crash in a lifecycle step. The step is committed, but its gates may not have been set."""
        if not self.model.may(step):
            return
        with crashing(where, place[0], 1):
            lifecycle.STEPS[step](self.poll.pk)
        self.model.decide(step)
        if (where, place[0]) != (LIFECYCLE_STEPS[0], "before"):
            self.model.set_missing_gates()

    # --- counting ---

    @rule()
    def sweep(self) -> None:
        tasks.sweep()
        if self.model.broken:
            return
        self.model.set_missing_gates()
        self.counted()
        self.model.finish_closing()
        self.counted()
        assert self.model.counted == self.model.heads or self.model.state == poll_model.CLOSING

    @precondition(lambda self: not self.model.broken)
    @rule(where=st.sampled_from(COUNTING_STEPS), place=places, data=st.data())
    def count_and_die(self, where: str, place: tuple[str, int], data: st.DataObject) -> None:
        partition = data.draw(st.sampled_from(sorted(self.model.heads)))
        with crashing(where, *place):
            batches.count_partition(partition)
        # The checkpoint says how far it got. The invariants check that everything else agrees.
        self.counted()
        self.poll.refresh_from_db()
        if self.poll.state == poll_model.CLOSED and self.model.state == poll_model.CLOSING:
            self.model.finish_closing()

    def counted(self) -> None:
        """Tell the model how far each partition is counted."""
        for partition, position in Checkpoint.objects.values_list("partition", "position"):
            self.model.count_up_to(partition, position)

    @rule()
    def a_minute_passes(self) -> None:
        """Let the next batch trim the log."""
        noted = Checkpoint.objects.exclude(trim_noted_at=None)
        noted.update(trim_noted_at=F("trim_noted_at") - timedelta(minutes=1))

    # --- dead letters ---

    @precondition(lambda self: self.waiting_letters())
    @rule(data=st.data(), what=st.sampled_from(["count", "count", "reject"]))
    def settle_letter(self, data: st.DataObject, what: str) -> None:
        cast = data.draw(st.sampled_from(self.waiting_letters()))
        letter = DeadLetter.objects.get(
            poll_id=self.poll.pk, round=cast.accepted_for, ballot_id=cast.ballot_id, status="waiting"
        )
        if what == "reject":
            dead_letters.reject_letter(letter.pk, "tests")
            cast.fate = REJECTED
        elif self.model.can_count(cast):
            dead_letters.count_letter(letter.pk, "tests")
            self.model.count_letter(cast)
        else:
            with pytest.raises(IllegalState):
                dead_letters.count_letter(letter.pk, "tests")

    def waiting_letters(self) -> list[Cast]:
        return [cast for cast in self.model.letters if cast.fate == DEAD_LETTER]

    @precondition(lambda self: self.waiting_letters())
    @rule()
    def repair_rules(self) -> None:
        """Add the missing choice to the round's rules, as an operator does by hand."""
        cast = self.waiting_letters()[0]
        row = Round.objects.get(poll=self.poll, number=cast.accepted_for)
        row.rules["numbers"] = [1, 2, 3, 4]
        row.save()
        self.model.repaired.add(cast.accepted_for)

    @precondition(lambda self: not self.model.broken and self.model.chains)
    @rule(data=st.data(), by=st.integers(-3, 3), key=st.sampled_from(["ballots", "1", "2"]))
    def drift_and_recount(self, data: st.DataObject, by: int, key: str) -> None:
        """Tamper with the tally. A recount finds the difference and corrects it."""
        number = data.draw(st.sampled_from(sorted({round_ for round_, _ in self.model.chains})))
        where = {"poll_id": self.poll.pk, "round": number, "key": key, "partition": 0}
        for table, more in ((Tally, {"changes": 1}), (TallyPoint, {"second": 1})):
            row, _ = table.objects.get_or_create(
                **where,
                **({} if table is Tally else more),
                defaults={"count": 0, **(more if table is Tally else {})},
            )
            table.objects.filter(pk=row.pk).update(count=F("count") + by)
        round_row = Round.objects.get(poll=self.poll, number=number)
        assert {line.key: line.drift for line in recount.fix(round_row, "tests").drifted} == (
            {key: by} if by else {}
        )

    # --- the log ---

    @precondition(lambda self: not self.model.broken)
    @rule()
    def empty_the_log(self) -> None:
        empty_log()
        self.model.lose_the_log()

    @precondition(lambda self: self.model.broken)
    @rule()
    def reconcile(self) -> None:
        reconcile.reconcile(log_diagnosis.diagnose())
        votelog.forget_log()  # other processes read the new checkpoints within a second
        self.lost += [cast for chain in self.model.chains.values() for cast in chain if cast.fate == WAITING]
        self.model.reconcile()

    @precondition(lambda self: self.model.broken)
    @rule()
    def nobody_counts_from_a_broken_log(self) -> None:
        for partition in self.model.heads:
            with pytest.raises(LogInconsistent):
                batches.count_partition(partition)

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        if self.model.broken:
            self.reconcile()
        for _ in range(3):
            self.sweep()
        assert self.model.state != poll_model.CLOSING
        assert all(cast.fate != WAITING for chain in self.model.chains.values() for cast in chain)
        self.check_all()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(lifecycle, "PUBLISH_WAIT_SECONDS", 0)
    for module in ("admission", "redis.log"):
        monkeypatch.setattr(f"polls.votelog.{module}.REMEMBERED_BALLOTS", REMEMBERED)
    settings.COUNT_BATCH = BATCH
    # The model has neither halted polls nor quarantine.
    monkeypatch.setattr(circuit_breaker, "MIN_FAILURES", 10**9)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=OFF")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("quick")
@pytest.mark.early
@pytest.mark.timeout(600 + 60 * EXAMPLES)
def test_the_invariants_hold(each_log: str) -> None:
    # The key's prefix is part of its voters' keys, so it must not be random.
    with mock.patch("rest_framework_api_key.crypto.get_random_string", lambda length: "k" * length):
        VotingMachine.client, VotingMachine.key = ApiClient.objects.create_key(
            name="tests", scopes=[ApiClient.Scope.BALLOTS_WRITE]
        )
    bounds = settings(
        max_examples=EXAMPLES or 7,
        stateful_step_count=STEPS,
        phases=[Phase.generate, *([Phase.shrink] if EXAMPLES else [])],
    )
    run_state_machine_as_test(VotingMachine, settings=bounds)
