"""Quarantine never reveals the selections of few ballots, neither in a tally or bundle nor by subtraction."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from analytics.audit import bundles, recount
from analytics.models import Quarantine, Tally
from analytics.quarantine import decisions
from analytics.quarantine.moves import QuarantineOutcome
from analytics.results import anonymity_threshold, documents, tallies
from polls import lifecycle
from polls.errors import Malformed, TooFewBallots
from polls.models import Poll, Round
from polls.votelog.admission import NewBallot
from tests.analytics.audit_bundles import bundle_of, close, content_of, receipt_of, run_verifier
from tests.factories import append, check_books, count, fill, new_ballot, open_poll, tallied

pytestmark = pytest.mark.django_db

ANN = "user ann"
LEAST = anonymity_threshold.LEAST


def quarantine(poll: Poll, ballots: list[NewBallot]) -> QuarantineOutcome:
    return decisions.quarantine_receipts(
        Poll.objects.get(pk=poll.pk), map(receipt_of, ballots), "Sold votes", ANN
    )


def shown(poll: Poll) -> dict[str, Any]:
    return documents.document(tallies.snapshot_of(poll.code), visible=True)


def in_state(state: str, voters: int, **fields: Any) -> tuple[Poll, list[NewBallot]]:
    poll = open_poll(**fields)
    ballots = fill(poll, range(voters))
    count()
    if state != "open":
        poll = close(poll)
    if state == "published":
        poll = lifecycle.publish_poll(poll.pk)
    return poll, ballots


@pytest.mark.parametrize("state", ["open", "closed", "published"])
@pytest.mark.parametrize(("step", "least"), [(1, LEAST), (LEAST + 5, LEAST + 5)])
def test_fewer_than_the_least_number_of_receipts_are_not_quarantined(
    state: str, step: int, least: int
) -> None:
    poll, ballots = in_state(state, 3 * least, release_step=step)
    before = shown(poll)
    # The first two would quarantine too few ballots, the last two would leave too few.
    for how_many in (1, least - 1, 2 * least + 1, 3 * least - 1):
        with pytest.raises(TooFewBallots):
            quarantine(poll, ballots[:how_many])
    assert shown(poll) == before
    assert not Quarantine.objects.exists()
    assert quarantine(poll, ballots[:least]).ballots == least
    # The first would quarantine too few further ballots, the second would leave too few.
    for few in (ballots[: least + 1], ballots[: 2 * least + 1]):
        with pytest.raises(TooFewBallots):
            quarantine(poll, few)
    assert quarantine(poll, ballots).ballots == 2 * least  # all of them
    assert tallied(poll)[1, "quarantined:ballots"] == 3 * least


def test_a_decision_takes_a_limited_number_of_receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is limited since counting waits while the ballots are moved."""
    assert decisions.MAX_RECEIPTS == 100_000  # as docs/decisions/quarantine.md says
    monkeypatch.setattr(decisions, "MAX_RECEIPTS", 2 * LEAST)
    poll, ballots = in_state("open", 4 * LEAST)
    with pytest.raises(Malformed, match="at most 20 receipts: divide the list"):
        quarantine(poll, ballots[: 2 * LEAST + 1])
    assert not Quarantine.objects.exists()
    assert quarantine(poll, ballots[: 2 * LEAST]).ballots == 2 * LEAST


def test_released_ballots_are_quarantined_again_all_or_none() -> None:
    """If two decisions differed in one ballot, the difference of their tallies would reveal it."""
    poll, ballots = in_state("closed", 4 * LEAST)
    first = quarantine(poll, ballots[:LEAST]).decision
    assert first is not None
    decisions.release(first.pk, ANN)
    for nearly in (ballots[: LEAST - 1], ballots[1 : LEAST + 1]):
        with pytest.raises(TooFewBallots):
            quarantine(poll, nearly)
    for more, moved, left in (
        (ballots[: LEAST + 1], LEAST, 1),
        (ballots[1:], 3 * LEAST, LEAST - 1),
    ):
        done = quarantine(poll, more)
        assert done.decision is not None
        assert (done.ballots, done.too_few) == (moved, left)
        decisions.release(done.decision.pk, ANN)


@pytest.mark.parametrize("others", [[40], [10, 30], [20, 20], [10, 10, 20], [39], [30, 9]])
def test_quarantining_all_others_does_not_show_a_ballot_that_was_released_alone(others: list[int]) -> None:
    """Whatever the sizes of the quarantines, no tally or difference of tallies shows that ballot's marks."""
    poll = open_poll()
    ballots = fill(poll, range(4 * LEAST), 1)
    append(new_ballot(poll, 1000, 2, quarantine_rule="over_limit"))
    count()
    decisions.release(Quarantine.objects.get().pk, ANN)
    poll, told, start = close(poll), 0, 0
    for size in others:
        try:
            done = quarantine(poll, ballots[start : start + size])
        except TooFewBallots:
            continue
        start, told = start + size, told + done.ballots
        assert shown(poll)["ballots"] >= LEAST
        assert done.decision is not None
        decisions.release(done.decision.pk, ANN)
    assert 4 * LEAST + 1 - told >= LEAST


def attempts(ballots: list[NewBallot]) -> list[list[NewBallot]]:
    sizes = (1, 2, LEAST - 1, LEAST, LEAST + 1, 2 * LEAST, len(ballots) - 1, len(ballots))
    return [ballots[start : start + size] for size in sizes for start in (0, 1, LEAST)]


def test_no_two_bundles_differ_in_few_ballots() -> None:
    poll, ballots = in_state("published", 4 * LEAST)
    listed = []

    def look() -> None:
        files = content_of(bundle_of(Poll.objects.get(pk=poll.pk)))
        names = ("receipts.txt", "quarantined-receipts.txt")
        listed.append(tuple(frozenset(files[name].splitlines()) for name in names))
        assert len(listed[-1][1]) == len(files["quarantined-ballots.csv"].splitlines()) - 1

    look()
    for some in attempts(ballots):
        try:
            done = quarantine(poll, some)
        except TooFewBallots:
            continue
        look()
        if done.decision:
            decisions.release(done.decision.pk, ANN)
            look()
    assert len(set(listed)) > 3
    for one in listed:
        for other in listed:
            for mine, theirs in zip(one, other, strict=True):
                assert len(mine - theirs) == 0 or len(mine - theirs) >= LEAST


def test_marks_of_few_quarantined_ballots_are_withheld(tmp_path: Path) -> None:
    poll = open_poll()
    fill(poll, range(20), 1)
    append(*(new_ballot(poll, voter, 2, quarantine_rule="over_limit") for voter in range(100, 103)))
    count()
    told = {"ballots": 3, "withheld": True, "reasons": 1}
    assert shown(poll)["quarantined"] == told
    poll = close(poll)
    assert Round.objects.get(poll=poll).result["quarantined"] == told
    poll = lifecycle.publish_poll(poll.pk)
    bundle = bundle_of(poll)
    files = content_of(bundle)
    assert files["quarantined-receipts.txt"] == b""
    assert files["quarantined-ballots.csv"] == b"selection\n"
    counts = json.loads(files["manifest.json"])["counts"]
    assert (counts["counted"], counts["quarantined"], counts["withheld"]) == (20, 0, 3)
    assert [each["ballots"] for each in json.loads(files["quarantines.json"])] == [0]
    with bundles.open_file(bundle) as file:
        (tmp_path / "bundle.zip").write_bytes(file.read())
    answer = run_verifier(tmp_path / "bundle.zip")
    assert answer.code == 3, answer.said


def test_a_small_decision_withholds_the_marks_of_a_large_one() -> None:
    """Otherwise the release of the large one would reveal the small one by subtraction."""
    poll = open_poll()
    ballots = fill(poll, range(3 * LEAST), 1)
    append(new_ballot(poll, 1000, 2, quarantine_rule="over_limit"))
    count()
    large = quarantine(poll, ballots[:LEAST]).decision
    assert shown(poll)["quarantined"] == {"ballots": LEAST + 1, "withheld": True, "reasons": 2}
    poll = close(poll)
    assert large is not None
    decisions.release(large.pk, ANN)
    assert shown(poll)["quarantined"] == {"ballots": 1, "withheld": True, "reasons": 1}


@pytest.mark.parametrize("decisions", [1, 30])
def test_a_tally_is_read_in_one_statement_with_any_number_of_decisions(
    decisions: int, django_assert_num_queries: Any
) -> None:
    poll = open_poll()
    ballots = fill(poll, range((decisions + 1) * LEAST), 1)
    count()
    for start in range(0, decisions * LEAST, LEAST):
        quarantine(poll, ballots[start : start + LEAST])
    last = tallies.newest(poll.pk)
    for few in (False, True):
        for read in (tallies.counted_snapshot, lambda known: tallies.newest(known.pk, last)):
            with django_assert_num_queries(1):
                snap = read(last.poll)
            assert (snap.reasons, snap.withheld) == (decisions + few, few)
        with django_assert_num_queries(1):
            assert anonymity_threshold.withheld(poll.pk, 1, 1) is few
        append(new_ballot(poll, 1000, 2, quarantine_rule="over_limit"))
        count()


@pytest.mark.parametrize("again", [False, True])
def test_a_tenth_ballot_counted_while_the_tally_is_read_does_not_show_nine(again: bool) -> None:
    """The difference between ten ballots and nine would reveal the tenth ballot's selection."""
    poll = almost_shown()
    last = tallies.newest(poll.pk) if again else None
    statements = 0

    def come_between(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal statements
        statements += 1
        if statements == 2:
            add_tenth(poll)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(come_between):
        snap = tallies.newest(poll.pk, last) if last else tallies.counted_snapshot(poll)
    assert snap.counts["quarantined:ballots"] == 2 * LEAST - 1
    assert snap.withheld
    if statements == 1:
        add_tenth(poll)
    assert not tallies.counted_snapshot(poll).withheld


def test_a_recount_before_the_tenth_ballot_does_not_show_nine() -> None:
    poll = almost_shown()
    found = recount.recount(recount.get_round(poll))
    add_tenth(poll)
    assert [row["label"] for row in found.rows() if row["quarantined"]] == ["Ballots"]


def almost_shown() -> Poll:
    """Return a poll with a large enough decision, and one that is a single ballot short."""
    poll = open_poll()
    ballots = fill(poll, range(2 * LEAST), 1)
    count()
    quarantine(poll, ballots[:LEAST])
    append(*(new_ballot(poll, 100 + number, 1, quarantine_rule="over_limit") for number in range(LEAST - 1)))
    count()
    return poll


def add_tenth(poll: Poll) -> None:
    append(new_ballot(poll, 1000, 2, quarantine_rule="over_limit"))
    count()


def test_few_ballots_are_released_only_while_voting_goes_on(boss: Client) -> None:
    poll, other = open_poll(), open_poll()
    for each in (poll, other):
        fill(each, range(12), 1)
        append(new_ballot(each, 50, 2, quarantine_rule="over_limit"))
    count()
    decisions.release(Quarantine.objects.get(poll_id=poll.pk).pk, ANN)
    assert check_books(poll)[1, "ballots"] == 13
    close(other)
    few = Quarantine.objects.get(poll_id=other.pk)
    page = f"/admin/analytics/quarantine/{few.pk}/"
    assert "They stay in quarantine." in boss.get(f"{page}change/").content.decode()
    assert f"{page}release/" not in boss.get(f"{page}change/").content.decode()
    boss.post(f"{page}release/")
    lifecycle.reset_poll(other.pk)
    with pytest.raises(TooFewBallots):
        decisions.release(few.pk, ANN)
    few.refresh_from_db()
    assert few.released_at is None
    assert shown(poll)["ballots"] == 13


def test_a_recount_withholds_the_marks_from_staff_too(boss: Client) -> None:
    poll = open_poll()
    fill(poll, range(12), 1)
    append(new_ballot(poll, 50, 2, quarantine_rule="over_limit"))
    count()
    rows = boss.post(f"/admin/count/{poll.pk}/", {"round": 1}).context["rows"]
    quarantined = {row["label"]: (row["tally"], row["ledger"]) for row in rows if row["quarantined"]}
    assert quarantined == {"Ballots": ("1", "1")}
    Tally.objects.filter(poll_id=poll.pk, key="quarantined:2").update(count=3)
    rows = boss.post(f"/admin/count/{poll.pk}/", {"round": 1}).context["rows"]
    (drifted,) = [row for row in rows if row["drift"]]
    assert (drifted["tally"], drifted["ledger"], drifted["shown_drift"]) == ("–", "–", "+2")


def test_no_step_changes_a_tally_by_few_ballots() -> None:
    """A rule quarantines nine of every ten ballots. The tenth must not be shown alone."""
    poll = open_poll(release_step=10)
    seen = []
    for start in range(0, 250, 10):
        append(
            *(new_ballot(poll, voter, 1, quarantine_rule="over_limit") for voter in range(start, start + 9))
        )
        append(new_ballot(poll, start + 9, 2))
        count()
        document = shown(poll)
        seen.append(document["ballots"])
        assert "choices" not in document.get("quarantined", {})
    steps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert any(steps)
    assert min(step for step in steps if step) >= 10
