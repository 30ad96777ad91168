"""static/js/vote/state.js: the voter's page after each event."""

from typing import Any

import pytest

from tests.scripts.running import Run
from tests.scripts.voting import (
    ACCEPTED,
    MINE,
    PENDING,
    POLL,
    ROUND_TWO,
    box,
    met,
    play,
    received,
    selected,
    settled,
)

pytestmark = pytest.mark.full_only


@pytest.mark.parametrize(
    ("phase", "poll", "outbox", "events"),
    [
        ("preparing", {}, box(), []),
        ("preparing", {"identity": "login"}, box(), [met()]),
        ("choosing", {}, box(), [met()]),
        ("barred", {}, box(), [met(eligible=False)]),
        ("waiting", {"state": "draft"}, box(), [met()]),
        ("over", {"state": "closing"}, box(), [met()]),
        ("over", {"state": "published"}, box(mine=MINE), [met()]),
        ("voted", {}, box(mine=MINE), []),
        ("choosing", {"round": 2}, box(mine=MINE), [met()]),
        ("changing", {}, box(mine=MINE), [met(), {"type": "secondPressed"}]),
        ("voted", {}, box(mine=MINE), [met(), {"type": "secondPressed"}, {"type": "secondPressed"}]),
        ("sending", {}, box(PENDING, MINE), [met()]),
        ("retrying", {"state": "closed"}, box({**PENDING, "attempts": 1}), [met()]),
        ("gone", {}, box(PENDING), [{"type": "pollGone"}]),
    ],
)
def test_the_phase_follows_from_poll_voter_and_outbox(
    run: Run, phase: str, poll: Any, outbox: Any, events: list[Any]
) -> None:
    assert play(run, *events, poll=POLL | poll, outbox=outbox)["phase"] == phase


def test_marks_are_shown_and_saved(run: Run) -> None:
    found = play(run, selected(1), met(), selected(1, 3))
    assert (found["shown"], found["saved"]) == ([1, 3], [1, 3])
    assert found["owner"] == {"round": 1, "tag": None, "replaces": None}


def test_cards_show_the_pending_ballot(run: Run) -> None:
    assert play(run, met(), outbox=box(PENDING, MINE))["shown"] == [3]
    assert play(run, met(), outbox=box(mine=MINE))["shown"] == [2]
    # Another device cast it, so its marks are unknown here.
    assert play(run, met(), outbox=box(mine={**MINE, "selections": None}))["shown"] == []


def test_marks_of_a_pending_ballot_of_an_earlier_round_are_not_shown(run: Run) -> None:
    # The poll's method may be another one now, whose form can't show these marks.
    found = play(run, met(), poll=ROUND_TWO, outbox=box({**PENDING, "attempts": 1}))
    assert (found["phase"], found["shown"]) == ("retrying", [])


def test_an_accepted_ballot_leaves_nothing_to_save(run: Run) -> None:
    found = play(run, met(), selected(3), ACCEPTED)
    assert (found["phase"], found["shown"], found["saved"], found["notice"]) == ("voted", [3], [], None)
    assert found["results"] is True


def test_the_page_says_that_another_window_cast_a_ballot(run: Run) -> None:
    found = play(run, met(), selected(1), settled("elsewhere", MINE, MINE))
    assert (found["phase"], found["shown"], found["saved"]) == ("voted", [2], [])
    assert found["notice"] == ["good", "elsewhere"]


@pytest.mark.parametrize(
    ("code", "ballot", "poll", "key"),
    [
        ("already_voted", {}, {}, "alreadyVoted"),
        ("poll_not_open", {}, {}, "closedBefore"),
        ("poll_not_open", {}, {"state": "draft"}, "notOpenYet"),
        ("round_changed", {}, {}, "roundChanged"),
        ("round_changed", {"unknown": True}, {}, "roundChangedUnsure"),
        ("no_cookies", {"unknown": True}, {}, "neverHeard"),
        ("no_cookies", {}, {}, "noCookies"),
        ("teapot", {}, {}, "refused"),
    ],
)
def test_a_refused_ballot_is_marked_on_the_cards_again(
    run: Run, code: str, ballot: Any, poll: Any, key: str
) -> None:
    refusal = settled("refused", PENDING | ballot, code=code)
    found = play(run, met(), refusal, poll=POLL | poll, outbox=box(PENDING))
    assert (found["notice"], found["saved"]) == (["bad", key], [3])
    # Another round may have other choices.
    found = play(run, met(), received(ROUND_TWO), refusal, outbox=box(PENDING))
    assert (found["notice"][0], found["shown"], found["saved"]) == ("bad", [], [])


@pytest.mark.parametrize(
    ("voter", "outbox", "notice"),
    [
        ({}, box(), None),
        ({"voted": True}, box(), ["warn", "newRound"]),
        ({}, box(mine=MINE), ["warn", "newRound"]),
    ],
)
def test_a_new_round_begins_without_marks(run: Run, voter: Any, outbox: Any, notice: Any) -> None:
    before = met(**voter), {"type": "secondPressed"}, selected(1), {"type": "peekPressed"}
    found = play(run, *before, received(ROUND_TWO), outbox=outbox)
    assert (found["phase"], found["shown"], found["saved"]) == ("choosing", [], [])
    assert (found["notice"], found["results"]) == (notice, False)


def test_marks_are_for_the_voter_who_made_them(run: Run) -> None:
    ann, bob = {"identity": "login", "tag": "ann"}, {"identity": "login", "tag": "bob"}
    poll = POLL | {"identity": "login"}
    # These marks are made before the page knows the voter, and are kept when the pass is renewed.
    assert play(run, selected(1), met(**ann), met(**ann), poll=poll)["shown"] == [1]
    assert play(run, selected(1), met(**ann), met(**bob), poll=poll)["shown"] == []
    barred = met(identity="login", eligible=False, needs="login")
    assert play(run, selected(1), barred, met(**ann), poll=poll)["shown"] == []


def test_a_change_begins_with_the_current_ballot(run: Run) -> None:
    changing = met(voted=True), {"type": "secondPressed"}
    found = play(run, *changing, outbox=box(mine=MINE))
    assert (found["shown"], found["saved"]) == ([2], [])
    found = play(run, *changing, selected(1), outbox=box(mine=MINE))
    assert (found["saved"], found["owner"]["replaces"]) == ([1], "b1")
    found = play(run, *changing, selected(1), {"type": "secondPressed"}, outbox=box(mine=MINE))
    assert (found["phase"], found["shown"], found["saved"]) == ("voted", [2], [])


@pytest.mark.parametrize(("outbox", "phase"), [(box(), "choosing"), (box(mine=MINE), "changing")])
def test_marks_from_before_a_reload_are_restored(run: Run, outbox: Any, phase: str) -> None:
    found = play(run, met(), {"type": "selectionRestored", "selections": [1]}, outbox=outbox)
    assert (found["phase"], found["shown"], found["notice"]) == (phase, [1], ["", "marksKept"])


@pytest.mark.parametrize(
    ("may", "poll", "voter", "outbox"),
    [
        (True, {}, {}, box()),
        (True, {}, {}, box(mine=MINE)),
        (False, {"revote": False}, {}, box(mine=MINE)),
        (False, {}, {"eligible": False}, box()),
        (False, {"state": "closed"}, {}, box()),
    ],
)
def test_marks_are_restored_only_for_voters_who_may_cast_them(
    run: Run, may: bool, poll: Any, voter: Any, outbox: Any
) -> None:
    assert play(run, met(**voter), poll=POLL | poll, outbox=outbox)["mayRestore"] is may


@pytest.mark.parametrize(
    ("least", "most", "numbers", "key"),
    [
        (1, 1, [], "chooseOne"),
        (1, 1, [2], None),
        (1, 2, [], "chooseUpTo"),
        (2, 2, [], "chooseExactly"),
        (2, 3, [], "chooseAtLeast"),
        (2, 3, [1], "chooseMore"),
        (1, 2, [1, 2, 3], "takeAway"),
        (1, 2, [1, 2], None),
    ],
)
def test_casting_says_what_is_missing(run: Run, least: int, most: int, numbers: list[int], key: Any) -> None:
    poll = POLL | {"min_selections": least, "max_selections": most}
    notice = play(run, met(), selected(*numbers), {"type": "castPressed"}, poll=poll)["notice"]
    assert notice == (key and ["warn", key])


def test_marking_clears_the_notice(run: Run) -> None:
    assert play(run, met(), {"type": "castPressed"}, selected(1))["notice"] is None


def test_an_invite_is_being_checked_until_the_server_answers(run: Run) -> None:
    assert play(run, {"type": "inviteShown"})["notice"] == ["", "inviteShown"]
    assert play(run, {"type": "inviteShown"}, met())["notice"] is None


def test_an_older_tally_changes_nothing(run: Run) -> None:
    late = received({**POLL, "revision": 0, "round": 0, "state": "draft"})
    assert play(run, met(), selected(1), late) == play(run, met(), selected(1))


@pytest.mark.parametrize(
    ("shown", "poll", "events"),
    [
        (False, {}, [met()]),
        (True, {}, [met(), {"type": "peekPressed"}]),
        (False, {"visible": False}, [met(), {"type": "peekPressed"}]),
        (True, {}, [met(), ACCEPTED]),
        (True, {"state": "closed"}, [met()]),
        (True, {"identity": "client"}, [met(identity="client", eligible=False, needs="client")]),
    ],
)
def test_results_are_shown_after_voting_or_on_request(
    run: Run, shown: bool, poll: Any, events: list[Any]
) -> None:
    assert play(run, *events, poll=POLL | poll)["results"] is shown


def test_a_receipt_is_checked_when_its_status_may_have_changed(run: Run) -> None:
    doubted = received({**POLL, "version": 2, "quarantined": {"ballots": 3, "reasons": 1}})
    closed = received({**POLL, "revision": 2, "state": "closed"})
    assert play(run, met(), ACCEPTED)["occasion"] == ""
    assert play(run, met(), ACCEPTED, doubted)["occasion"] == "open 1"
    assert play(run, met(), ACCEPTED, closed)["occasion"] == "closed 0"
    assert play(run, met(), outbox=box(mine=MINE))["occasion"] == "open 0"


def test_only_the_current_ballots_status_is_shown(run: Run) -> None:
    checked = {"type": "receiptChecked", "receipt": "r1", "status": "quarantined"}
    assert play(run, met(), checked, outbox=box(mine=MINE))["status"] == "quarantined"
    assert play(run, met(), checked, ACCEPTED, outbox=box(mine=MINE))["status"] is None


@pytest.mark.parametrize(("attempts", "busy", "held"), [(0, None, False), (1, True, True), (1, False, False)])
def test_voters_cannot_shorten_the_wait_that_the_server_asked_for(
    run: Run, attempts: int, busy: bool, held: bool
) -> None:
    pending = {**PENDING, "attempts": attempts, "busy": busy}
    assert play(run, met(), outbox=box(pending))["held"] is held
