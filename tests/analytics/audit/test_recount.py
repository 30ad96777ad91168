"""Recounting from the ledger: drift is found, shown and corrected under a new epoch."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from analytics.audit import recount
from analytics.audit.recount import RecountRefused, key_ranges
from analytics.counting import closing
from analytics.models import Tally
from analytics.results import final_results
from analytics.results.tallies import BALLOTS, QUARANTINED
from polls import lifecycle
from polls.methods import get_method
from polls.models import Ballot, Poll, Record, Round
from polls.signals import poll_changed
from tests.factories import append, check_books, count, fill, new_ballot, open_poll

pytestmark = pytest.mark.django_db


def drift(poll: Poll, key: str, by: int) -> None:
    slot = Tally.objects.filter(poll_id=poll.pk, round=poll.round, key=key).first()
    assert slot
    Tally.objects.filter(pk=slot.pk).update(count=slot.count + by)


def counted_poll(voters: int = 20, **fields: Any) -> Poll:
    poll = open_poll(**fields)
    fill(poll, range(voters))
    count()
    return poll


def closed(poll: Poll, publish: bool = False) -> Poll:
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    return lifecycle.publish_poll(poll.pk) if publish else Poll.objects.get(pk=poll.pk)


def of(poll: Poll, number: int | None = None) -> recount.Recount:
    return recount.recount(recount.get_round(poll, number))


@pytest.fixture
def announced() -> Iterator[list[int]]:
    heard: list[int] = []

    def hear(poll_id: int, **_: Any) -> None:
        heard.append(poll_id)

    poll_changed.connect(hear)
    yield heard
    poll_changed.disconnect(hear)


def test_a_correct_tally_has_no_drift() -> None:
    poll = counted_poll()
    found = of(poll)
    assert found.drifted == []
    assert [(row["label"], row["tally"], row["ledger"]) for row in found.rows()] == [
        ("Choice 1", 10, 10),
        ("Choice 2", 10, 10),
        ("Choice 3", 0, 0),
        ("Ballots", 20, 20),
    ]


@pytest.mark.parametrize("step", [1, 5])
def test_a_method_may_add_to_a_key_twice(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """A method may give two points for one mark. Both tallies are tested, with and without steps."""
    single = get_method("single")
    cells = single.cells
    monkeypatch.setattr(single, "cells", lambda selection: dict.fromkeys(cells(selection), 2))
    poll = open_poll(release_step=step)
    fill(poll, range(10), 1)
    append(*(new_ballot(poll, voter, 2, quarantine_rule="over_limit") for voter in range(10, 17)))
    count()
    found = of(poll)
    assert found.drifted == []
    tally = {line.key: line.tally for line in found.lines if line.tally}
    assert tally == {"1": 20, "ballots": 10, "quarantined:2": 14, "quarantined:ballots": 7}


def test_a_poll_without_ballots_has_no_drift() -> None:
    assert of(open_poll()).drifted == []


def test_a_round_that_was_never_opened_is_refused() -> None:
    with pytest.raises(RecountRefused):
        recount.get_round(open_poll(), 2)


@pytest.mark.parametrize("key", ["1", "3", BALLOTS])
@pytest.mark.parametrize("by", [-3, 5])
def test_drift_is_found_and_corrected(key: str, by: int, announced: list[int]) -> None:
    poll = open_poll()
    fill(poll, range(10), 1)
    fill(poll, range(10, 14), 3)
    count()
    drift(poll, key, by)
    assert [(line.key, line.drift) for line in of(poll).drifted] == [(key, by)]
    announced.clear()
    found = recount.fix(recount.get_round(poll), "somebody")
    assert [(line.key, line.drift) for line in found.drifted] == [(key, by)]
    assert of(poll).drifted == []
    check_books(poll)
    assert Poll.objects.get(pk=poll.pk).epoch == poll.epoch + 1
    assert announced == [poll.pk]
    row = Record.objects.latest("pk")
    assert (row.actor, row.action, row.poll_code) == ("somebody", "tally corrected", poll.code)
    assert row.detail == {"round": 1, "drift": {key: by}}


def test_a_missing_tally_row_is_restored() -> None:
    poll = counted_poll()
    Tally.objects.filter(poll_id=poll.pk, key="1").delete()
    recount.fix(recount.get_round(poll), "somebody")
    check_books(poll)


def test_without_drift_nothing_changes(announced: list[int]) -> None:
    poll = counted_poll()
    announced.clear()
    records = Record.objects.count()
    assert recount.fix(recount.get_round(poll), "somebody").drifted == []
    assert Poll.objects.get(pk=poll.pk).epoch == poll.epoch
    assert (announced, Record.objects.count()) == ([], records)


def test_counting_continues_from_a_corrected_tally() -> None:
    poll = counted_poll()
    drift(poll, "2", 7)
    recount.fix(recount.get_round(poll), "somebody")
    fill(poll, range(100, 130))
    count()
    assert check_books(poll)[1, BALLOTS] == 50
    assert of(poll).drifted == []


def test_every_mark_of_multiple_choice_is_counted() -> None:
    poll = open_poll(method="multiple", max_selections=3)
    fill(poll, range(6), 1, 2, 3)
    fill(poll, range(6, 10), 2)
    count()
    assert {line.key: line.ledger for line in of(poll).lines} == {"1": 6, "2": 10, "3": 6, BALLOTS: 10}


def test_quarantined_ballots_are_recounted_separately() -> None:
    poll = counted_poll()
    some = Ballot.objects.filter(poll_id=poll.pk, selection="1").values_list("voter_key", flat=True)[:4]
    Ballot.objects.filter(poll_id=poll.pk, voter_key__in=[bytes(key) for key in some]).update(quarantine_id=9)
    found = {line.key: line.drift for line in of(poll).drifted}
    assert found == {"1": 4, BALLOTS: 4, f"{QUARANTINED}1": -4, f"{QUARANTINED}{BALLOTS}": -4}
    recount.fix(recount.get_round(poll), "somebody")
    again = of(poll)
    assert again.drifted == []
    assert [(row["label"], row["quarantined"], row["tally"]) for row in again.rows()] == [
        ("Choice 1", False, 6),
        ("Choice 2", False, 10),
        ("Choice 3", False, 0),
        ("Ballots", False, 16),
        ("Choice 1", True, 4),
        ("Ballots", True, 4),
    ]


def test_a_published_result_is_corrected() -> None:
    poll = closed(counted_poll(), publish=True)
    drift(poll, "1", 30)
    Round.objects.filter(poll=poll).update(result=final_results.final_result(poll))
    recount.fix(recount.get_round(poll), "somebody")
    result = Round.objects.get(poll=poll).result
    assert result
    assert [choice["votes"] for choice in result["choices"]] == [10, 10, 0]
    assert result["winners"] == [1, 2]


def test_an_earlier_result_is_corrected_and_keeps_its_texts() -> None:
    poll = closed(counted_poll(), publish=True)
    drift(poll, "1", 30)
    Round.objects.filter(poll=poll).update(result=final_results.final_result(poll))
    poll = lifecycle.reset_poll(poll.pk)
    poll.choices.filter(number=1).update(label="Renamed")
    recount.fix(recount.get_round(poll, 1), "somebody")
    result = Round.objects.get(poll=poll, number=1).result
    assert result
    assert [(each["label"], each["votes"], each["share"]) for each in result["choices"]] == [
        ("Choice 1", 10, 0.5),
        ("Choice 2", 10, 0.5),
        ("Choice 3", 0, 0.0),
    ]
    assert (result["ballots"], result["winners"]) == (20, [1, 2])
    assert of(poll, 1).drifted == []


def test_rounds_are_recounted_separately() -> None:
    poll = lifecycle.reset_poll(closed(counted_poll()).pk)
    lifecycle.open_poll(poll.pk)
    fill(Poll.objects.get(pk=poll.pk), range(3), 2)
    count()
    assert {line.key: line.ledger for line in of(poll, 1).lines}[BALLOTS] == 20
    assert {line.key: line.ledger for line in of(poll, 2).lines}[BALLOTS] == 3


def test_key_ranges_cover_every_voter() -> None:
    for parts in (1, 2, 7, 256, 100_000):
        ranges = list(key_ranges(parts))
        assert ranges[0][0] == b"" and ranges[-1][1] == b""
        assert [end for _, end in ranges[:-1]] == [start for start, _ in ranges[1:]]
        assert len(set(ranges)) == len(ranges) == min(parts, 0x10000)


def test_a_large_round_is_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recount, "_BALLOTS_PER_STATEMENT", 7)
    poll = counted_poll(50)
    steps: list[int] = []
    found = recount.recount(recount.get_round(poll), steps.append)
    assert found.drifted == []
    assert len(steps) == 50 // 7 + 1
    assert sum(steps) == 50


class TestCommand:
    def test_the_count_is_printed(self, capsys: Any) -> None:
        poll = counted_poll()
        call_command("recount", poll.code.lower())
        assert "The tally matches the ledger." in capsys.readouterr().out

    def test_drift_exits_with_1(self, capsys: Any) -> None:
        poll = counted_poll()
        drift(poll, "2", -4)
        with pytest.raises(CommandError) as failed:
            call_command("recount", poll.code)
        assert failed.value.returncode == 1
        out = capsys.readouterr().out
        line = next(line for line in out.splitlines() if "Choice 2" in line)
        assert [cell.strip() for cell in line.strip("│ ").split("│")] == ["Choice 2", "6", "10", "-4"]
        assert of(poll).drifted

    def test_fix_asks_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        poll = counted_poll()
        drift(poll, "2", -4)
        monkeypatch.setattr("builtins.input", lambda _: "n")
        with pytest.raises(CommandError, match="Nothing was changed"):
            call_command("recount", poll.code, fix=True)
        assert of(poll).drifted
        monkeypatch.setattr("builtins.input", lambda _: "y")
        call_command("recount", poll.code, fix=True)
        assert of(poll).drifted == []
        assert Record.objects.latest("pk").actor.startswith("command ")

    def test_recount_takes_an_earlier_round(self) -> None:
        poll = lifecycle.reset_poll(closed(counted_poll()).pk)
        with pytest.raises(CommandError, match="has not been opened"):
            call_command("recount", poll.code)
        call_command("recount", poll.code, round=1)

    def test_recount_of_an_unknown_poll_ends_with_2(self) -> None:
        with pytest.raises(CommandError, match="no poll") as failed:
            call_command("recount", "NOPE42")
        assert failed.value.returncode == 2  # 1 would mean that the tally has drifted
