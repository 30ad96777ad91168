"""The messages to viewers, and who may see what."""

import itertools
import json
import random

import pytest

from analytics.results.documents import document
from analytics.results.tallies import Snapshot
from analytics.results.visibility import Viewer, may_see
from polls.models import Choice, Poll
from realtime.presence import EXPIRE_SECONDS, SEND_SECONDS, Presence
from realtime.protocol import build_frames, parse_request

STATES = ["draft", "open", "closing", "closed", "published"]
EVERYBODY, VOTED, STAFF, NOBODY = set(Viewer), {Viewer.VOTED, Viewer.STAFF}, {Viewer.STAFF}, set()

WHO_SEES = {
    "always": dict.fromkeys(STATES, EVERYBODY),
    "after_vote": {
        "draft": VOTED,
        "open": VOTED,
        "closing": VOTED,
        "closed": EVERYBODY,
        "published": EVERYBODY,
    },
    "after_close": {
        "draft": STAFF,
        "open": STAFF,
        "closing": STAFF,
        "closed": EVERYBODY,
        "published": EVERYBODY,
    },
    "staff": dict.fromkeys(STATES, STAFF),
}


@pytest.mark.parametrize("results_visible", WHO_SEES)
@pytest.mark.parametrize("state", STATES)
def test_who_may_see_a_tally(results_visible: str, state: str) -> None:
    seers = {viewer for viewer in Viewer if may_see(state, results_visible, viewer)}
    assert seers == WHO_SEES[results_visible][state]


def test_an_unknown_visibility_shows_the_tally_to_nobody() -> None:
    assert not may_see("published", "whatever", Viewer.VOTED)


def poll_with(db: None, **fields: object) -> Poll:
    poll = Poll.objects.create(code="ABC", question="Which?", **fields)
    Choice.objects.bulk_create(Choice(poll=poll, number=n, label=f"Choice {n}") for n in (1, 2, 3))
    return poll


def snapshot(poll: Poll, *votes: int) -> Snapshot:
    counts = {str(number): count for number, count in enumerate(votes, 1)}
    return Snapshot(poll, counts | {"ballots": sum(votes)}, version=sum(votes))


@pytest.mark.parametrize(("results_visible", "state"), [("after_close", "open"), ("staff", "published")])
def test_hidden_frames_do_not_depend_on_votes(db: None, results_visible: str, state: str) -> None:
    poll = poll_with(db, results_visible=results_visible, state=state)
    before, after = build_frames(snapshot(poll, 0, 0, 0)), build_frames(snapshot(poll, 900, 70, 12345))
    assert before.tally[Viewer.PUBLIC] == after.tally[Viewer.PUBLIC]
    assert before.state == after.state
    assert before.tally[Viewer.STAFF] != after.tally[Viewer.STAFF]


def test_a_draft_hides_its_texts(db: None) -> None:
    doc = document(snapshot(poll_with(db, state="draft"), 0, 0, 0), visible=True)
    assert (doc["question"], doc["choices"]) == ("", [])


def test_shares_are_of_ballots_and_null_without_any(db: None) -> None:
    poll = poll_with(db, state="open", method="multiple", max_selections=3)
    doc = document(Snapshot(poll, {"1": 2, "2": 1, "ballots": 3}, 3), visible=True)
    assert [choice["share"] for choice in doc["choices"]] == [0.6667, 0.3333, 0.0]
    assert (doc["ballots"], doc["selections"], doc["base"]) == (3, 3, "ballots")
    empty = document(Snapshot(poll, {}, 0), visible=True)
    assert [choice["share"] for choice in empty["choices"]] == [None] * 3


@pytest.mark.parametrize("state", STATES)
def test_winners_are_named_only_after_closing(db: None, state: str) -> None:
    doc = document(snapshot(poll_with(db, state=state), 4, 4, 1), visible=True)
    assert doc.get("winners") == ([1, 2] if state in ("closed", "published") else None)


def test_messages_in_any_order_lead_to_the_fresh_snapshot(db: None) -> None:
    """Messages may be lost, doubled or reordered: a viewer that drops older ones ends at the newest."""
    poll = poll_with(db, state="open")
    history = []
    for epoch, revision, votes in itertools.product((1, 2), (1, 2), range(5)):
        poll.epoch, poll.revision = epoch, revision + epoch
        history.append(json.loads(build_frames(snapshot(poll, votes, 0, 0)).tally[Viewer.PUBLIC].text))
    fresh = history[-1]
    for seed in range(200):
        chance = random.Random(seed)
        arriving = [m for m in history[:-1] * 2 if chance.random() < 0.7] + [fresh]
        chance.shuffle(arriving)
        shown = arriving[0]
        for message in arriving[1:]:
            if stamp(message) >= stamp(shown):
                shown = message
        assert shown == fresh


def stamp(message: dict[str, int]) -> tuple[int, int, int]:
    return message["epoch"], message["revision"], message["version"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"type":"recheck"}', "recheck"),
        ('{"type":"ping"}', "ping"),
        ('{"type":"tally"}', None),
        ('{"type":["ping"]}', None),
        ('"recheck"', None),
        ("[" * 5000, None),
        ("", None),
        (None, None),
        ("\ud800", None),
    ],
)
def test_only_recheck_and_ping_are_valid_requests(text: str | None, wanted: str | None) -> None:
    assert parse_request(text) == wanted


def test_presence_sums_processes_and_forgets_silent_ones() -> None:
    presence = Presence()
    presence.receive("a", 3, 0.0)
    presence.receive("b", 4, 5.0)
    presence.receive("a", 2, 6.0)
    assert presence.total(1, 7.0) == 7
    assert presence.total(1, 5.0 + EXPIRE_SECONDS) == 3
    assert presence.total(1, 6.0 + EXPIRE_SECONDS) == 1


def test_presence_is_sent_on_change_and_regularly() -> None:
    presence = Presence()
    assert presence.due(1, 10.0)
    assert not presence.due(1, 10.5)
    assert presence.due(2, 11.0)
    assert presence.due(2, 11.0 + SEND_SECONDS)
