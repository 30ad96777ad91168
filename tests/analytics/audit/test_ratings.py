"""Ratings in the ledger: recounts, quarantine, stepped results, revotes, bundles and the verifier."""

import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analytics.audit import bundles, recount, signing
from analytics.models import Quarantine, Tally
from analytics.quarantine import decisions
from analytics.results import documents, tallies
from polls import lifecycle
from polls.models import Ballot, Poll
from polls.votelog.admission import NewBallot
from tests.analytics.audit_bundles import bundle_of, close, content_of, run_verifier, zipped
from tests.factories import append, check_books, count, open_poll

pytestmark = pytest.mark.django_db

STARS = {"style": "stars", "scale": 5}
NPS = {"style": "nps"}


def ballot(poll: Poll, voter: int, selection: str, **fields: Any) -> NewBallot:
    fields = {"round": poll.round, "ballot_id": uuid.uuid4().bytes} | fields
    return NewBallot(poll.pk, voter.to_bytes(16, "big"), selection=selection, **fields)


def selections(poll: Poll, seed: int = 1) -> Iterator[str]:
    """Ballots of simulated voters, as they are stored."""
    rules, rng = poll.method_rules(), random.Random(seed)
    method = Poll.objects.get(pk=poll.pk).rounds.get(number=poll.round).method
    while True:
        yield method.check(rules, method.sample(rules, dict.fromkeys(rules.numbers, 1.0), rng))


def rated(voters: int, *, quarantined: int = 0, **fields: Any) -> Poll:
    poll = open_poll(method="rating", **fields)
    found = selections(poll)
    ballots = [ballot(poll, voter, next(found)) for voter in range(voters)]
    more = range(voters, voters + quarantined)
    ballots += [ballot(poll, voter, next(found), quarantine_rule="over_limit") for voter in more]
    assert {outcome.code for outcome in append(*ballots)} <= {"accepted"}
    count()
    return poll


POLLS = [
    {"choices": 1, "config": STARS},
    {"choices": 1, "config": NPS},
    {"choices": 3, "config": STARS},
    {"choices": 3, "config": NPS, "release_step": 5},
    {"choices": 1, "config": {"scale": 2}, "release_step": 5},
]


@pytest.mark.parametrize("fields", POLLS)
@pytest.mark.parametrize(("voters", "quarantined"), [(0, 0), (1, 0), (40, 0), (40, 12), (40, 3)])
def test_a_bundle_of_a_rating_is_verified(
    tmp_path: Path, fields: dict[str, Any], voters: int, quarantined: int
) -> None:
    poll = rated(voters, quarantined=quarantined, **fields)
    poll = lifecycle.publish_poll(close(poll).pk)
    archive = tmp_path / "bundle.zip"
    with bundles.open_file(bundle_of(poll)) as file:
        archive.write_bytes(file.read())
    answer = run_verifier(archive, "--key", signing.fingerprint())
    assert answer.code == 0, answer.said
    figures = documents.figures(tallies.snapshot(poll))
    for choice in figures["choices"]:
        assert f"{choice['answers']:>12,}  {choice['label']}" in answer.said
        if "score" in choice:
            shown = "-" if choice["score"] is None else f"{choice['score']:+d}"
        else:
            shown = "-" if choice["mean"] is None else f"{choice['mean']:.1f}"
        assert f"{shown:>6}{choice['answers']:>12,}" in answer.said


def test_a_changed_rating_is_found(tmp_path: Path) -> None:
    poll = lifecycle.publish_poll(close(rated(30, choices=2, config=STARS)).pk)
    files = content_of(bundle_of(poll))
    lines = files["ballots.csv"].splitlines(keepends=True)
    for wrong in (b"1:6\n", b"1:0 2:3\n", b"3:1\n", b"2:1 1:1\n", b"1\n", b"1:05\n", b"1:1 1:2\n"):
        archive = tmp_path / "changed.zip"
        archive.write_bytes(
            zipped(files | {"ballots.csv": b"".join([lines[0], *sorted([*lines[1:-1], wrong])])})
        )
        assert run_verifier(archive, "--key", signing.fingerprint()).code == 1


@pytest.mark.parametrize("fields", POLLS)
def test_a_recount_agrees_and_finds_a_drift(fields: dict[str, Any]) -> None:
    poll = rated(25, quarantined=12, **fields)
    round_ = poll.rounds.get()
    found = recount.recount(round_)
    assert found.drifted == []
    values = 11 if fields["config"] == NPS else fields["config"].get("scale", 5)
    first = [row for row in found.rows() if not row["quarantined"]]
    assert len(first) == fields["choices"] * values + 1
    assert first[0]["label"] == f"Choice 1: {0 if values == 11 else 1}"
    assert first[-1]["label"] == "Ballots"
    Tally.objects.create(
        poll_id=poll.pk, round=1, key="9:9", partition=0, count=3, changes=1
    )  # a key that the method doesn't know
    assert [(line.key, line.drift) for line in recount.fix(round_, "user ann").drifted] == [("9:9", 3)]
    assert recount.recount(round_).drifted == []


def test_a_revote_moves_all_cells() -> None:
    poll = open_poll(method="rating", choices=2, revote=True)
    first = ballot(poll, 1, "1:5,2:5")
    append(first)
    append(ballot(poll, 1, "2:1", replaces=first.ballot_id))
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "2:1"): 1}


def test_ratings_move_to_the_second_tally_and_back() -> None:
    poll = rated(30, quarantined=12, choices=2, config=STARS)
    before = check_books(poll)
    shown = documents.figures(tallies.snapshot_of(poll.code))
    second = shown["quarantined"]
    assert second["ballots"] == 12
    assert sum(sum(choice["distribution"]) for choice in second["choices"]) == second["answers"]
    decisions.release(Quarantine.objects.get().pk, "user ann")
    after = check_books(poll)
    assert after[1, "ballots"] == 42
    assert not any(key.startswith("quarantined:") for _round, key in after)
    for (round_, key), n in before.items():
        bare = key.removeprefix("quarantined:")
        assert after[round_, bare] >= n


def test_a_stored_rating_that_breaks_the_rules_is_not_counted() -> None:
    poll = open_poll(method="rating", choices=2)
    wrong = ["1:9", "3:1", "2:1,1:1", "1", "x", "1:1,1:1", ""]
    append(*(ballot(poll, voter, selection) for voter, selection in enumerate(wrong)))
    append(ballot(poll, 99, "1:1"))
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "1:1"): 1}
    assert Ballot.objects.count() == 1
