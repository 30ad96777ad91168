"""The contract suite of vote logs: each backend's tests run it on their own log.

A subclass gives the fixtures `log`, an empty log with its heads made, and `store_now`, the store's clock.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from polls.votelog.admission import REMEMBERED_BALLOTS, Gate, NewBallot, Outcome
from polls.votelog.contract import VoteLog
from polls.votelog.entries import Entry, Head, Marker, entries_of, partition_of
from tests.threads import at_once

GENERATION = "a1b2c3d4"
POLL = 7
HOUR = 3_600_000  # ms

NEW = Outcome("accepted", 1)
AGAIN = Outcome("accepted", 1, repeated=True)


def voter(number: int) -> bytes:
    return number.to_bytes(16, "big")


def ballot(
    by: int = 1,
    number: int = 1,
    selection: str = "1",
    *,
    poll: int = POLL,
    round: int | None = None,
    replaces: int | None = None,
    quarantine_rule: str = "",
) -> NewBallot:
    """Ballot `number` of voter `by`."""
    return NewBallot(
        poll_id=poll,
        voter_key=voter(by),
        ballot_id=number.to_bytes(16, "little"),
        selection=selection,
        round=round,
        replaces=None if replaces is None else replaces.to_bytes(16, "little"),
        quarantine_rule=quarantine_rule,
    )


def make(log: VoteLog, position: int = 0) -> None:
    for partition in range(log.partitions):
        log.make(partition, Head(GENERATION, position))


def known(log: VoteLog, position: int = 0) -> dict[int, Head]:
    return {partition: Head(GENERATION, position) for partition in range(log.partitions)}


def append(log: VoteLog, *ballots: NewBallot) -> list[Outcome]:
    return log.append(ballots, known(log))


def places(heads: Mapping[int, Head]) -> dict[int, tuple[str, int]]:
    return {partition: (head.generation, head.position) for partition, head in heads.items()}


def codes(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.code for outcome in outcomes]


def read(log: VoteLog, partition: int, after: int, limit: int) -> list[Entry]:
    """Read entries one by one: at least `limit`, since blocks are read whole."""
    return entries_of(log.read(partition, after, limit))


def entries(log: VoteLog) -> dict[int, list[Entry]]:
    return {partition: read(log, partition, 0, 100_000) for partition in range(log.partitions)}


def ballots(log: VoteLog) -> list[Entry]:
    return [entry for listed in entries(log).values() for entry in listed if entry.kind == "ballot"]


def check_outcomes(log: VoteLog, batch: Sequence[NewBallot], outcomes: Sequence[Outcome]) -> None:
    """Check that the log has each accepted ballot once and no refused one. It may have unknown ones."""
    written = Counter(entry.voter_key + entry.ballot_id for entry in ballots(log))
    for one, outcome in zip(batch, outcomes, strict=True):
        times = written[one.voter_key + one.ballot_id]
        assert times == (outcome.code == "accepted") or outcome.code == "outcome_unknown", (outcome, times)


def place_of(log: VoteLog, one: NewBallot) -> int:
    return partition_of(one.poll_id, one.voter_key, log.partitions)


def open_gate(log: VoteLog, round: int = 1, poll: int = POLL, **rules: Any) -> None:
    log.open(poll, Gate(round, open=True, **rules))


class VoteLogContract:
    # --- append decides, in this order: known ballot_id; round; open; claim ---

    def test_the_clock_is_that_of_the_store(self, log: VoteLog, store_now: Callable[[], int]) -> None:
        before, now, after = store_now(), log.clock(), store_now()
        assert before - 1 <= now <= after + 1  # one may round, the other truncate

    def test_an_accepted_ballot_is_written_in_full(self, log: VoteLog, store_now: Callable[[], int]) -> None:
        open_gate(log)
        before = store_now()
        assert append(log, ballot(by=3, number=9, selection="2,5")) == [NEW]
        after = store_now()
        (entry,) = ballots(log)
        assert before - 1 <= entry.at <= after + 1
        assert entry == Entry(
            1, "ballot", POLL, 1, entry.at, voter(3), (9).to_bytes(16, "little"), "2,5", None
        )

    def test_an_empty_batch_has_no_outcomes(self, log: VoteLog) -> None:
        assert append(log) == []

    def test_a_known_ballot_id_gets_the_same_outcome(self, log: VoteLog) -> None:
        open_gate(log)
        assert append(log, ballot()) == [NEW]
        assert append(log, ballot()) == [AGAIN]
        assert append(log, ballot(round=1)) == [AGAIN]
        assert len(ballots(log)) == 1

    def test_a_ballot_id_is_known_after_closing_and_after_a_reset(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, ballot(round=1))
        log.close(POLL, 1)
        assert append(log, ballot(round=1), ballot()) == [AGAIN, AGAIN]
        log.reset(POLL, 2)
        assert append(log, ballot(round=1), ballot()) == [AGAIN, AGAIN]
        open_gate(log, 2)
        assert append(log, ballot(round=1), ballot()) == [AGAIN, AGAIN]

    @pytest.mark.parametrize("other", [{"selection": "2"}, {"round": 2}])
    def test_a_known_ballot_id_with_other_content_is_refused(
        self, log: VoteLog, other: dict[str, Any]
    ) -> None:
        open_gate(log)
        append(log, ballot(round=1))
        assert codes(append(log, ballot(**other))) == ["ballot_id_reused"]
        log.close(POLL, 1)
        log.reset(POLL, 2)
        open_gate(log, 2)
        assert codes(append(log, ballot(**other))) == ["ballot_id_reused"]
        assert len(ballots(log)) == 1

    def test_a_ballot_id_belongs_to_its_voter_and_poll(self, log: VoteLog) -> None:
        open_gate(log)
        open_gate(log, poll=8)
        same_id = [ballot(1), ballot(2, selection="2"), ballot(1, poll=8, selection="3")]
        assert append(log, *same_id) == [NEW, NEW, NEW]

    def test_the_round_is_checked_before_the_gate(self, log: VoteLog) -> None:
        log.reset(POLL, 2)
        assert codes(append(log, ballot(round=1), ballot(round=3))) == ["round_changed"] * 2
        assert codes(append(log, ballot(round=2), ballot())) == ["poll_not_open"] * 2

    def test_the_gate_is_checked_before_the_claim(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, ballot())
        log.close(POLL, 1)
        assert codes(append(log, ballot(number=2), ballot(number=2, round=1))) == ["poll_not_open"] * 2

    def test_ballots_of_a_poll_without_a_gate_are_refused(self, log: VoteLog) -> None:
        assert codes(append(log, ballot(), ballot(round=1))) == ["poll_not_open"] * 2
        assert ballots(log) == []

    def test_gates_open_and_close_by_the_clock_of_the_store(
        self, log: VoteLog, store_now: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = store_now()
        monkeypatch.setattr(time, "time", lambda: 0.0)  # our own clock must not matter
        windows = {
            1: Gate(1, open=True, opens_at=now + HOUR),
            2: Gate(1, open=True, closes_at=now - 1),
            3: Gate(1, open=True, opens_at=now - HOUR, closes_at=now + HOUR),
            4: Gate(1, open=False, opens_at=now - HOUR, closes_at=now + HOUR),
        }
        for poll, gate in windows.items():
            log.open(poll, gate)
        assert codes(append(log, *(ballot(poll=poll) for poll in windows))) == [
            "poll_not_open",
            "poll_not_open",
            "accepted",
            "poll_not_open",
        ]

    def test_a_voter_votes_once(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, ballot())
        second = [ballot(number=2), ballot(number=2, replaces=1), ballot(number=2, selection="2", round=1)]
        assert codes(append(log, *second)) == ["already_voted"] * 3
        assert len(ballots(log)) == 1

    def test_a_ballot_is_replaced_only_by_naming_the_current_one(self, log: VoteLog) -> None:
        open_gate(log, revote=True)
        assert append(log, ballot(number=1)) == [NEW]
        assert codes(append(log, ballot(number=2))) == ["already_voted"]
        assert codes(append(log, ballot(number=2, replaces=9))) == ["already_voted"]
        assert append(log, ballot(number=2, selection="2", replaces=1)) == [NEW]
        assert codes(append(log, ballot(number=3, replaces=1))) == ["already_voted"]
        assert append(log, ballot(number=3, selection="3", replaces=2)) == [NEW]
        assert append(log, ballot(number=1), ballot(number=2, selection="2")) == [AGAIN, AGAIN]
        assert [(e.selection, e.replaces and e.replaces[0]) for e in ballots(log)] == [
            ("1", None),
            ("2", 1),
            ("3", 2),
        ]

    def test_a_first_ballot_may_name_one_that_was_never_accepted(self, log: VoteLog) -> None:
        """A page may believe that its refused first ballot was accepted."""
        open_gate(log, revote=True)
        assert append(log, ballot(number=2, replaces=1)) == [NEW]
        assert ballots(log)[0].replaces is None

    def test_each_round_has_its_own_claims(self, log: VoteLog) -> None:
        open_gate(log, revote=True)
        append(log, ballot(number=1))
        log.close(POLL, 1)
        log.reset(POLL, 2)
        open_gate(log, 2, revote=True)
        assert append(log, ballot(number=2, replaces=1)) == [Outcome("accepted", 2)]
        assert codes(append(log, ballot(number=3), ballot(number=3, replaces=1))) == ["already_voted"] * 2
        assert [(e.round, e.replaces) for e in ballots(log)] == [(1, None), (2, None)]
        assert [log.find(POLL, n, voter(1)) for n in (1, 2, 3)] == [
            ballot(number=1).ballot_id,
            ballot(number=2).ballot_id,
            None,
        ]

    def test_a_claim_keeps_the_last_32_ballots(self, log: VoteLog) -> None:
        open_gate(log, revote=True)
        count = REMEMBERED_BALLOTS + 3
        for number in range(1, count + 1):
            assert append(log, ballot(number=number, replaces=number - 1)) == [NEW]
        oldest = count - REMEMBERED_BALLOTS + 1
        assert append(log, ballot(number=oldest), ballot(number=count)) == [AGAIN, AGAIN]
        assert codes(append(log, ballot(number=oldest - 1))) == ["already_voted"]
        assert log.find(POLL, 1, voter(1)) == ballot(number=count).ballot_id

    def test_large_rounds_and_times_are_stored_exactly(self, log: VoteLog) -> None:
        far = 4_102_444_800_000  # 2100
        log.open(POLL, Gate(30_000, open=True, revote=True, opens_at=1_500_000_000_123, closes_at=far))
        assert append(log, ballot(round=30_000)) == [Outcome("accepted", 30_000)]
        assert append(log, ballot()) == [Outcome("accepted", 30_000, repeated=True)]
        assert ballots(log)[0].round == 30_000
        assert all(marker.closed_at < far for marker in log.close(POLL, 30_000))

    # --- batches ---

    def test_outcomes_come_in_the_order_of_the_ballots(self, log: VoteLog) -> None:
        open_gate(log)
        open_gate(log, round=2, poll=8)
        batch = []
        expected = []
        for number in range(40):
            poll = POLL if number % 2 else 8
            batch.append(ballot(number, poll=poll, round=1))
            expected.append("accepted" if poll == POLL else "round_changed")
        assert codes(append(log, *batch)) == expected
        assert {e.voter_key for e in ballots(log)} == {voter(number) for number in range(1, 40, 2)}

    def test_a_batch_may_hold_a_voter_more_than_once(self, log: VoteLog) -> None:
        open_gate(log)
        open_gate(log, poll=8, revote=True)
        outcomes = append(
            log,
            ballot(number=1),
            ballot(number=1),
            ballot(number=1, selection="2"),
            ballot(number=2),
            ballot(number=1, poll=8),
            ballot(number=2, poll=8, selection="2", replaces=1),
            ballot(number=3, poll=8),
            ballot(number=1, poll=8),
        )
        assert [o.code if not o.repeated else "again" for o in outcomes] == [
            *("accepted", "again", "ballot_id_reused", "already_voted"),
            *("accepted", "accepted", "already_voted", "again"),
        ]
        assert [(e.poll_id, e.selection) for e in sorted(ballots(log), key=lambda e: e.poll_id)] == [
            (POLL, "1"),
            (8, "1"),
            (8, "2"),
        ]

    def test_quarantined_ballots_keep_their_rule_and_claim_their_voter(self, log: VoteLog) -> None:
        open_gate(log)
        batch = [
            ballot(number, quarantine_rule="over_limit" if number % 3 == 0 else "") for number in range(1, 31)
        ]
        assert codes(append(log, *batch)) == ["accepted"] * 30
        assert {e.voter_key for e in ballots(log) if e.quarantine_rule == "over_limit"} == {
            voter(number) for number in range(3, 31, 3)
        }
        assert {e.quarantine_rule for e in ballots(log)} == {"", "over_limit"}
        assert codes(append(log, ballot(3, number=2), ballot(4, number=2, quarantine_rule="over_limit"))) == [
            "already_voted",
            "already_voted",
        ]

    def test_positions_are_contiguous_in_each_partition(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(60)))
        append(log, *(ballot(number) for number in range(30, 90)))
        log.close(POLL, 1)
        heads = log.heads()
        for partition, listed in entries(log).items():
            assert [entry.position for entry in listed] == list(range(1, len(listed) + 1))
            assert heads[partition] == Head(GENERATION, len(listed))
        assert len(ballots(log)) == 90

    def test_all_ballots_of_a_voter_are_in_one_partition(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(60)))
        for partition, listed in entries(log).items():
            assert all(partition_of(POLL, e.voter_key, log.partitions) == partition for e in listed)

    def test_a_large_batch_is_accepted_in_one_call(self, log: VoteLog) -> None:
        open_gate(log, revote=True)
        assert set(codes(append(log, *(ballot(number) for number in range(1200))))) == {"accepted"}
        again = append(log, *(ballot(number) for number in range(1200)))
        assert all(outcome == AGAIN for outcome in again)
        changed = append(log, *(ballot(n, number=2, selection="2", replaces=1) for n in range(1200)))
        assert set(changed) == {NEW}
        assert len(ballots(log)) == 2400

    # --- reading and trimming ---

    def test_reading_starts_after_a_position_and_has_a_limit(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(50)))
        for partition, listed in entries(log).items():
            assert read(log, partition, 2, 3)[:3] == listed[2:5]
            assert read(log, partition, listed[-1].position, 10) == []
            assert read(log, partition, 1_000_000, 10) == []

    def test_trimming_deletes_entries_and_keeps_claims_gates_and_positions(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(50)))
        first = log.heads()
        append(log, *(ballot(number) for number in range(50, 60)))
        heads, listed = log.heads(), entries(log)
        for partition in range(log.partitions):
            log.trim(partition, first[partition].position)
            assert read(log, partition, 0, 1000) == listed[partition][first[partition].position :]
            log.trim(partition, heads[partition].position)
            log.trim(partition, heads[partition].position)
            assert read(log, partition, 0, 1000) == []
        assert places(log.heads()) == places(heads)
        assert append(log, ballot(0)) == [AGAIN]
        assert codes(append(log, ballot(0, number=2))) == ["already_voted"]
        assert append(log, ballot(99)) == [NEW]
        (entry,) = ballots(log)
        assert entry.position == heads[partition_of(POLL, voter(99), log.partitions)].position + 1

    def test_forgetting_a_poll_deletes_its_claims_and_counted_ballots(self, log: VoteLog) -> None:
        open_gate(log, revote=True)
        open_gate(log, poll=8)
        append(log, *(ballot(number) for number in range(500)))
        append(log, *(ballot(number, number=2, replaces=1) for number in range(9)))
        append(log, *(ballot(number, poll=8) for number in range(20)))
        markers, counted = log.close(POLL, 1), {n: head.position for n, head in log.heads().items()}
        late = [ballot(number, poll=8) for number in range(20, 40)]
        append(log, *late)
        heads = log.heads()
        log.forget(POLL, counted)
        log.forget(POLL, counted)
        assert {entry.poll_id for entry in ballots(log)} == {8}
        assert len(ballots(log)) == 40
        assert all(log.find(POLL, 1, voter(number)) is None for number in range(500))
        assert log.find(8, 1, voter(3)) == ballot().ballot_id
        # Positions, markers, gates and the voters of other polls are unchanged.
        assert (log.heads(), log.close(POLL, 1)) == (heads, markers)
        assert codes(append(log, ballot(99))) == ["poll_not_open"]
        assert codes(append(log, ballot(3, number=2, poll=8))) == ["already_voted"]
        for partition, position in counted.items():
            behind = {e.voter_key for e in read(log, partition, position, 1000)}
            assert behind == {
                b.voter_key for b in late if partition_of(8, b.voter_key, log.partitions) == partition
            }
        # In the next round the same voters are new, and known from then on.
        open_gate(log, round=2)
        assert codes(append(log, ballot(3, round=2))) == ["accepted"]
        assert codes(append(log, ballot(3, number=5, round=2))) == ["already_voted"]

    def test_forgetting_a_poll_keeps_uncounted_ballots(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(30)))
        log.forget(POLL, dict.fromkeys(range(log.partitions), 0))
        assert len(ballots(log)) == 30

    def test_forgetting_an_unknown_poll_has_no_effect(self, log: VoteLog) -> None:
        log.forget(4711, {})
        open_gate(log)
        assert append(log, ballot()) == [NEW]

    def test_find_returns_the_current_ballot_of_a_voter(self, log: VoteLog) -> None:
        open_gate(log, revote=True)
        assert log.find(POLL, 1, voter(1)) is None
        append(log, ballot(number=1), ballot(number=2, replaces=1))
        assert log.find(POLL, 1, voter(1)) == ballot(number=2).ballot_id
        assert log.find(POLL, 1, voter(2)) is None
        assert log.find(8, 1, voter(1)) is None

    # --- gates ---

    def test_opening_is_idempotent(self, log: VoteLog) -> None:
        open_gate(log)
        open_gate(log)
        assert append(log, ballot(round=1)) == [NEW]

    def test_opening_has_no_effect_after_closing(self, log: VoteLog) -> None:
        open_gate(log)
        markers = log.close(POLL, 1)
        open_gate(log)
        assert codes(append(log, ballot())) == ["poll_not_open"]
        assert log.close(POLL, 1) == markers

    def test_a_delayed_opening_has_no_effect_after_closing(self, log: VoteLog) -> None:
        markers = log.close(POLL, 1)
        open_gate(log)
        assert codes(append(log, ballot())) == ["poll_not_open"]
        assert len(markers) == log.partitions

    def test_a_delayed_opening_of_an_older_round_has_no_effect(self, log: VoteLog) -> None:
        log.reset(POLL, 2)
        open_gate(log, 1)
        assert codes(append(log, ballot(round=1), ballot(round=2))) == ["round_changed", "poll_not_open"]
        open_gate(log, 2)
        open_gate(log, 1)
        assert codes(append(log, ballot(round=2))) == ["accepted"]

    def test_a_delayed_closing_of_an_older_round_has_no_effect(self, log: VoteLog) -> None:
        open_gate(log, 2)
        assert log.close(POLL, 1) == []
        assert codes(append(log, ballot(round=2))) == ["accepted"]

    def test_a_delayed_reset_has_no_effect(self, log: VoteLog) -> None:
        open_gate(log, 2)
        log.reset(POLL, 2)
        log.reset(POLL, 1)
        assert codes(append(log, ballot(round=2))) == ["accepted"]

    def test_an_opening_needs_no_reset_before_it(self, log: VoteLog) -> None:
        """Setting the gates of a reset may have failed when the next round opens."""
        open_gate(log, 1)
        open_gate(log, 2)
        assert codes(append(log, ballot(round=1), ballot(round=2))) == ["round_changed", "accepted"]

    def test_closing_appends_one_marker_to_each_partition(
        self, log: VoteLog, store_now: Callable[[], int]
    ) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(40)))
        heads = log.heads()
        before = store_now()
        markers = log.close(POLL, 1)
        after = store_now()
        assert [marker.partition for marker in markers] == list(range(log.partitions))
        for marker in markers:
            assert marker.position == heads[marker.partition].position + 1
            assert before - 1 <= marker.closed_at <= after + 1
            (entry,) = read(log, marker.partition, marker.position - 1, 10)
            assert entry == Entry(marker.position, "close", POLL, 1, marker.closed_at)

    def test_closing_twice_gives_the_same_markers(self, log: VoteLog) -> None:
        open_gate(log)
        open_gate(log, poll=8)
        markers = log.close(POLL, 1)
        append(log, *(ballot(number, poll=8) for number in range(20)))
        assert log.close(POLL, 1) == markers
        assert sum(e.kind == "close" for listed in entries(log).values() for e in listed) == log.partitions

    def test_a_round_closes_no_later_than_scheduled(self, log: VoteLog, store_now: Callable[[], int]) -> None:
        planned = store_now() - 5000
        open_gate(log, closes_at=planned)
        assert [marker.closed_at for marker in log.close(POLL, 1)] == [planned] * log.partitions

    def test_closing_affects_one_poll_only(self, log: VoteLog) -> None:
        open_gate(log)
        open_gate(log, poll=8)
        log.close(POLL, 1)
        assert codes(append(log, ballot(), ballot(poll=8))) == ["poll_not_open", "accepted"]

    # --- a log that isn't ours ---

    def test_a_log_of_another_generation_accepts_nothing(self, log: VoteLog) -> None:
        open_gate(log)
        foreign = {partition: Head("ffffffff", 0) for partition in range(log.partitions)}
        assert codes(log.append([ballot(1), ballot(2)], foreign)) == ["log_inconsistent"] * 2
        assert ballots(log) == []

    def test_a_log_that_is_behind_accepts_nothing(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, ballot(by=1))
        ahead = known(log, position=9)
        assert codes(log.append([ballot(by=1, number=2), ballot(by=2)], ahead)) == ["log_inconsistent"] * 2
        assert len(ballots(log)) == 1

    def test_a_partition_without_a_checkpoint_accepts_nothing(self, log: VoteLog) -> None:
        open_gate(log)
        assert codes(log.append([ballot()], {})) == ["log_inconsistent"]
        assert ballots(log) == []

    # --- each outcome is about its own ballot only ---

    def test_a_full_backlog_refuses_new_ballots_and_answers_retries(
        self, log: VoteLog, settings: Any
    ) -> None:
        """A retry of an accepted ballot must not be told that it wasn't written."""
        settings.BACKLOG_LIMIT = log.partitions  # one uncounted entry each
        open_gate(log, revote=True)
        open_gate(log, poll=8)
        first = [ballot(number) for number in range(40)]
        assert append(log, *first) == [NEW] * 40
        log.close(8, 1)
        full = append(
            log, *first, ballot(1, number=2, replaces=1), ballot(2, number=2), ballot(50), ballot(1, poll=8)
        )
        assert full[:40] == [AGAIN] * 40
        assert codes(full[40:]) == ["overloaded", "already_voted", "overloaded", "poll_not_open"]
        check_outcomes(log, [*first, ballot(50)], [*full[:40], full[42]])
        settings.BACKLOG_LIMIT = 1000
        assert append(log, ballot(1, number=2, replaces=1), ballot(50)) == [NEW, NEW]

    def test_a_full_backlog_affects_its_own_partition_only(self, log: VoteLog, settings: Any) -> None:
        settings.BACKLOG_LIMIT = log.partitions * 5
        open_gate(log)
        filling = [one for one in map(ballot, range(200)) if place_of(log, one) == 0][:5]
        assert append(log, *filling) == [NEW] * 5
        more = [ballot(number) for number in range(200, 260)]
        outcomes = append(log, *more)
        for one, outcome in zip(more, outcomes, strict=True):
            assert outcome.code == ("accepted" if place_of(log, one) else "overloaded")
        check_outcomes(log, more, outcomes)

    @pytest.mark.parametrize("unfit", [None, Head("ffffffff", 0), Head(GENERATION, 1_000_000)], ids=repr)
    def test_a_refused_partition_affects_no_other(self, log: VoteLog, unfit: Head | None) -> None:
        open_gate(log)
        expected = known(log)
        if unfit:
            expected[0] = unfit
        else:
            del expected[0]
        batch = [ballot(number) for number in range(60)]
        outcomes = log.append(batch, expected)
        for one, outcome in zip(batch, outcomes, strict=True):
            assert outcome.code == ("accepted" if place_of(log, one) else "log_inconsistent")
        check_outcomes(log, batch, outcomes)
        assert set(codes(append(log, *batch))) == {"accepted"}

    def test_a_log_that_is_ahead_accepts_ballots(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(40)))
        assert log.append([ballot(99)], known(log, position=1)) == [NEW]

    def test_making_a_log_changes_no_existing_one(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, ballot())
        heads = log.heads()
        for partition in range(log.partitions):
            log.make(partition, Head("ffffffff", 500))
        assert log.heads() == heads

    def test_a_log_is_rebuilt_with_its_gates_and_claims(self, log: VoteLog) -> None:
        open_gate(log)
        append(log, *(ballot(number) for number in range(20)))
        rebuilt = {partition: Head(f"{partition:08}", 100) for partition in range(log.partitions)}
        counted: dict[int, list[tuple[int, int, bytes, bytes, str]]] = {p: [] for p in rebuilt}
        for new in (ballot(1, round=1), ballot(1, number=2, round=2), ballot(2, round=1, poll=8)):
            place = partition_of(new.poll_id, new.voter_key, log.partitions)
            assert new.round
            counted[place].append((new.poll_id, new.round, new.voter_key, new.ballot_id, new.selection))
        for partition, head in rebuilt.items():
            log.rebuild(partition, head, {POLL: Gate(2, open=True), 8: Gate(1)})
            log.restore_claims(partition, counted[partition])
        assert places(log.heads()) == places(rebuilt)
        assert ballots(log) == []
        outcomes = log.append(
            [ballot(1), ballot(1, number=3), ballot(2, poll=8), ballot(3, poll=8), ballot(3)], rebuilt
        )
        assert [(o.code, o.round, o.repeated) for o in outcomes] == [
            ("accepted", 1, True),
            ("already_voted", 0, False),
            ("accepted", 1, True),
            ("poll_not_open", 0, False),
            ("accepted", 2, False),
        ]
        assert [entry.position for entry in ballots(log)] == [101]

    # --- concurrency ---

    @pytest.mark.django_db(transaction=True)
    def test_copies_of_a_ballot_at_once_count_once(self, log: VoteLog) -> None:
        open_gate(log)
        outcomes = at_once(lambda _: append(log, ballot(round=1))[0], range(200))
        assert Counter(outcomes) == {NEW: 1, AGAIN: 199}
        assert len(ballots(log)) == 1

    @pytest.mark.django_db(transaction=True)
    def test_a_voter_in_two_windows_at_once_votes_once(self, log: VoteLog) -> None:
        open_gate(log)
        windows = [(by, number) for by in range(50) for number in (1, 2)]
        outcomes = at_once(lambda window: append(log, ballot(*window))[0].code, windows)
        assert Counter(outcomes) == {"accepted": 50, "already_voted": 50}
        assert sorted(e.voter_key for e in ballots(log)) == [voter(by) for by in range(50)]

    @pytest.mark.django_db(transaction=True)
    def test_a_ballot_is_replaced_by_one_of_two_at_once(self, log: VoteLog) -> None:
        open_gate(log, revote=True)
        append(log, *(ballot(by) for by in range(25)))
        changes = [(by, number) for by in range(25) for number in (2, 3)]
        outcomes = at_once(lambda c: append(log, ballot(*c, replaces=1))[0].code, changes)
        assert Counter(outcomes) == {"accepted": 25, "already_voted": 25}

    @pytest.mark.django_db(transaction=True)
    def test_no_ballot_is_after_the_closing_marker(self, log: VoteLog) -> None:
        open_gate(log)
        some_are_in = threading.Semaphore(0)
        markers: list[Marker] = []

        def cast(by: int) -> tuple[int, list[str]]:
            outcomes = codes(append(log, *(ballot(by * 1000 + n, round=1) for n in range(5))))
            some_are_in.release()
            return by, outcomes

        def close() -> None:
            for _ in range(10):
                some_are_in.acquire()
            markers.extend(log.close(POLL, 1))

        closing = threading.Thread(target=close)
        closing.start()
        answers = at_once(cast, range(80))
        closing.join()

        ends = {marker.partition: marker.position for marker in markers}
        for partition, listed in entries(log).items():
            assert [e.kind for e in listed[: ends[partition] - 1]] == ["ballot"] * (ends[partition] - 1)
            assert len(listed) == ends[partition]
        accepted = {
            voter(by * 1000 + n) for by, outcome in answers for n in range(5) if outcome[n] == "accepted"
        }
        assert {e.voter_key for e in ballots(log)} == accepted
        assert {code for _, outcome in answers for code in outcome} <= {"accepted", "poll_not_open"}
        assert len(accepted) >= 50

    @pytest.mark.django_db(transaction=True)
    def test_concurrent_closings_append_one_marker_per_partition(self, log: VoteLog) -> None:
        open_gate(log)
        closings = at_once(lambda _: log.close(POLL, 1), range(12), threads=4)
        assert all(markers == closings[0] for markers in closings)
        assert sum(len(listed) for listed in entries(log).values()) == log.partitions
