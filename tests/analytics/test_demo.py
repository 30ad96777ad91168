"""The demo polls: made in every state through the ordinary functions, and not changed by later runs."""

from dataclasses import replace
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from analytics import demo
from analytics.models import Tally
from analytics.results import documents, tallies
from polls import drafts, lifecycle, votelog
from polls.models import Ballot, Choice, DeadLetter, Poll, Round
from polls.votelog import get_log

pytestmark = pytest.mark.django_db(transaction=True)

STATES = {poll.code: poll.state for poll in demo.DEMO_POLLS}


@pytest.fixture
def few_voters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed a tenth of the ballots, to save time."""
    small = tuple(replace(poll, ballots=poll.ballots // 10) for poll in demo.DEMO_POLLS)
    monkeypatch.setattr(demo, "DEMO_POLLS", small)


def states() -> dict[str, str]:
    return dict(Poll.objects.values_list("code", "state"))


def everything() -> Any:
    tables = (Poll, Choice, Round, Ballot, Tally)
    return [sorted(table.objects.values_list(), key=repr) for table in tables]


def test_seeding_makes_counted_polls_in_every_state(capsys: Any) -> None:
    call_command("seed_demo")
    printed = capsys.readouterr().out
    assert states() == STATES
    assert set(STATES.values()) == {"draft", "open", "closed", "published"}
    for seeded in demo.DEMO_POLLS:
        poll = Poll.objects.get(code=seeded.code)
        tally = documents.document(tallies.snapshot(poll), visible=True)
        assert tally["ballots"] == Ballot.objects.filter(poll_id=poll.pk).count() == seeded.ballots
        assert bool(tally.get("winners")) == (poll.state in ("closed", "published"))
        assert seeded.code in printed
    assert Poll.objects.get(code="DEMO").revote
    assert Poll.objects.get(code="TOMORROW").opens_at
    assert not DeadLetter.objects.exists()


@pytest.mark.usefixtures("few_voters")
def test_a_second_run_changes_nothing(capsys: Any) -> None:
    call_command("seed_demo", verbosity=0)
    assert capsys.readouterr().out == ""
    before = everything()
    call_command("seed_demo")
    assert everything() == before
    assert "made" not in capsys.readouterr().out


@pytest.mark.usefixtures("few_voters")
def test_seeding_again_makes_missing_polls() -> None:
    call_command("seed_demo", verbosity=0)
    Poll.objects.get(code="TOMORROW").delete()
    call_command("seed_demo", verbosity=0)
    assert states() == STATES


@pytest.mark.usefixtures("few_voters")
def test_an_interrupted_run_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    cast, left = demo._cast, [13]

    def breaks_off(code: str, selection: list[int]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise demo.SeedFailed("Interrupted.")
        cast(code, selection)

    monkeypatch.setattr(demo, "_cast", breaks_off)
    with pytest.raises(CommandError, match="Interrupted"):
        call_command("seed_demo", verbosity=0)
    assert states() != STATES
    monkeypatch.setattr(demo, "_cast", cast)
    call_command("seed_demo", verbosity=0)
    assert states() == STATES
    for seeded in demo.DEMO_POLLS:
        assert Ballot.objects.filter(poll_id=Poll.objects.get(code=seeded.code).pk).count() == seeded.ballots


@pytest.mark.usefixtures("few_voters")
def test_seeding_again_leaves_changed_polls_alone(capsys: Any) -> None:
    call_command("seed_demo", verbosity=0)
    lifecycle.close_poll(Poll.objects.get(code="DEMO").pk)
    lifecycle.reset_poll(Poll.objects.get(code="ROBOT").pk)
    call_command("seed_demo")
    assert states()["DEMO"] in ("closing", "closed")
    assert states()["ROBOT"] == "draft"
    assert "not ours" in capsys.readouterr().out


@pytest.mark.usefixtures("few_voters")
def test_another_poll_with_the_same_code_is_not_touched() -> None:
    mine = drafts.create_poll(["Yes", "No"], code="MENU", question="Do we cook?")
    call_command("seed_demo", verbosity=0)
    mine.refresh_from_db()
    assert (mine.state, mine.question) == ("draft", "Do we cook?")


@pytest.mark.usefixtures("few_voters")
def test_a_log_that_refuses_ballots_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("seed_demo", verbosity=0)
    Poll.objects.filter(code="ROBOT").delete()
    votelog.forget_log()
    heads = {n: votelog.entries.Head("elsewhere", 0) for n in get_log().heads()}
    monkeypatch.setattr("polls.casting.log_writer.cached_heads", lambda: heads)
    with pytest.raises(CommandError, match="could not be made"):
        call_command("seed_demo", verbosity=0)
