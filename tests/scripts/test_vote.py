"""static/js/vote: answers to a ballot, the bar's texts, receipts and invites."""

from typing import Any

import pytest

from tests.scripts.running import Run
from tests.scripts.voting import ACCEPTED, MINE, PENDING, POLL, box, met, selected, settled

pytestmark = pytest.mark.full_only


BALLOT_TEXTS = """({ ballotTexts }, [status, over, invited]) => {
    const { title, words } = ballotTexts(status, { over, invited, changed: false });
    return [title, words];
}"""


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("invited", [False, True])
@pytest.mark.parametrize(
    ("status", "title"),
    [
        ("quarantined", "Your ballot is set aside for review"),
        ("rejected", "Your ballot was rejected"),
        ("replaced", "You replaced this ballot with a later one"),
        ("unknown", "The server doesn't know your ballot"),
        ("counted", None),
        ("accepted", None),
        (None, None),
    ],
)
def test_a_voter_is_told_what_became_of_the_ballot_and_nothing_else(
    run: Run, status: str, title: str, over: bool, invited: bool
) -> None:
    said = run("vote/cast-texts.js", BALLOT_TEXTS, [status, over, invited])
    assert said[0] == title or (title is None and said[0].endswith("ballot is in"))
    assert ("part of the result." in said[1]) is (status == "counted" and over)


STATUS_WAITS = """({ ReceiptStatus }) => {
    let now = 1000;
    const waits = [];
    const real = [setTimeout, Math.random];
    window.setTimeout = (_, wait) => waits.push(wait);
    Math.random = () => 0.999;
    performance.now = () => now;
    const status = new ReceiptStatus({ root: "/", onStatus() {} });
    status.follow("receipt", "open 0");
    now += 2000;
    status.follow("receipt", "open 1"); // the tally is there, and tells of a decision
    now += 60000;
    status.follow("receipt", "closed 1"); // a whole hall asks
    [window.setTimeout, Math.random] = real;
    delete performance.now;
    return waits;
}"""


def test_a_new_page_checks_its_receipt_at_once_and_a_hall_within_half_a_minute(
    run: Run,
) -> None:
    assert run("vote/receipt-status.js", STATUS_WAITS) == [999, 999, 29970]


TOKEN = "AAAAAQAAAAEz-_wq3m4t5v6x7y8zABCD"
LINK = f"https://vote.example.org/p/K7MDXA/#i={TOKEN}"


@pytest.mark.parametrize(
    ("pasted", "found"),
    [
        (TOKEN, {"token": TOKEN}),
        (f"  {LINK}\n", {"token": TOKEN}),
        (f"<{LINK}>.", {"token": TOKEN}),
        (f"#i={TOKEN}", {"token": TOKEN}),
        (f"i={TOKEN}", {"token": TOKEN}),
        (LINK.replace("#i=", "%23i%3D"), {"token": TOKEN}),
        (f"{LINK[:60]}\r\n{LINK[60:]}", {"token": TOKEN}),
        (f"{LINK}&utm_source=mail", {"token": TOKEN}),
        (
            f"https://safe.example/?url=https%3A%2F%2Fv.example%2Fp%2Fk7m-dxa%2F%2523i%3D{TOKEN}&x=1",
            {"token": TOKEN},
        ),
        ("", {"problem": "inviteNone"}),
        (" \u200b ", {"problem": "inviteNone"}),
        ("https://vote.example.org/p/K7MDXA/", {"problem": "inviteLost"}),
        ("https://vote.example.org/p/K7MDXA/#i=", {"problem": "inviteLost"}),
        (LINK.replace("K7MDXA", "WXY346"), {"problem": "inviteElsewhere", "poll": "WXY346"}),
        (LINK[:-1], {"problem": "inviteLength", "count": 31}),
        ("K7MDXA", {"problem": "inviteLength", "count": 6}),
        ("ask Zoë", {"problem": "inviteNotOne"}),
    ],
)
def test_an_invite_is_read_as_mail_programs_leave_it(run: Run, pasted: str, found: dict[str, Any]) -> None:
    assert run("vote/invite.js", "({ readInvite }, pasted) => readInvite(pasted, 'K7MDXA')", pasted) == found


# --- what the bar says ---

SAY = """async ({ castTexts }, [tally, outbox, events]) => {
    const { initialState, reduce } = await import("/js/vote/state.js");
    const state = events.reduce(reduce, initialState(tally, outbox));
    const { title = "", words = "", more = "", tone = "" } = castTexts(state, 1000);
    return { title, words, more, tone };
}"""
WAITING = {**PENDING, "attempts": 1, "busy": True, "held": False}


@pytest.mark.parametrize(
    ("poll", "outbox", "events", "said"),
    [
        ({}, box(), [], {"words": "Getting ready…"}),
        ({}, box(), [{"type": "voterUnreached"}], {"words": "We can't reach the server yet."}),
        ({}, box(), [met()], {"words": "Nothing chosen yet."}),
        ({}, box(), [met(), selected(1)], {"words": "Ready to cast."}),
        ({"max_selections": 2}, box(), [met(), selected(1)], {"words": "1 chosen."}),
        (
            {"max_selections": 2, "min_selections": 2},
            box(),
            [met(), selected(1)],
            {"words": "1 chosen. Choose 1 more."},
        ),
        ({}, box(PENDING), [met()], {"words": "Casting…"}),
        (
            {},
            box(PENDING) | {"sending": True, "proving": True},
            [met()],
            {"words": "Checking that you are not"},
        ),
        (
            {},
            box(WAITING) | {"nextTry": 4_200},
            [met()],
            {"title": "Your ballot is waiting", "words": "Many people", "more": "Next try in 4 seconds."},
        ),
        ({}, box({**WAITING, "held": True}), [met()], {"words": "Voting is held up", "more": "Casting…"}),
        (
            {},
            box({**WAITING, "busy": False, "unknown": True}),
            [met()],
            {"title": "Not sure whether", "words": "The server didn't tell us", "tone": "warn"},
        ),
        ({}, box(), [met(), ACCEPTED], {"title": "Your ballot is in", "words": "Thank you.", "tone": "good"}),
        ({}, box(), [met(eligible=False, needs="client")], {"title": "Voting happens in another app"}),
        (
            {},
            box(),
            [met(eligible=False, needs="login")],
            {"title": "This poll is for people with an account"},
        ),
        ({"state": "closed"}, box(), [met()], {"words": "Voting has ended."}),
        ({"state": "closed"}, box(mine=MINE), [met()], {"words": "Voting has closed. Check the receipt"}),
        (
            {"identity": "invite"},
            box(mine={**MINE, "selections": None}),
            [met(identity="invite")],
            {"title": "This invite's ballot is in"},
        ),
        (
            {},
            box(PENDING),
            [met(), settled("refused", code="already_voted", mine=MINE)],
            {"words": "You had already cast a ballot", "tone": "bad"},
        ),
    ],
)
def test_the_bar_says_where_the_voter_stands(
    run: Run, poll: Any, outbox: Any, events: list[Any], said: dict[str, str]
) -> None:
    found = run("vote/cast-texts.js", SAY, [POLL | poll, outbox, events])
    for name, words in said.items():
        assert found[name].startswith(words), found


# --- answers ---

ANSWER = "({ readAnswer }, [ballot, ...answer]) => readAnswer(ballot, ...answer)"


def problem(status: int, code: str) -> list[Any]:
    return [status, {"status": status, "code": code, "type": f"/api/errors/#{code}"}, 7]


RETRY = {"kind": "retry", "busy": False, "held": False, "wait": 7}


@pytest.mark.parametrize(
    ("answer", "meaning", "in_doubt"),
    [
        ([202, {"ballot_id": "b2", "receipt": "r2"}, 7], {"kind": "accepted", "receipt": "r2"}, None),
        ([202, {"ballot_id": "b1", "receipt": "r1"}, 7], RETRY, None),
        ([200, None, 7], RETRY, None),
        ([403, None, 7], RETRY, None),
        ([400, {"status": 400, "code": "malformed"}, 7], RETRY, None),
        (problem(401, "voter_unknown"), {"kind": "voter_unknown"}, None),
        (problem(403, "not_eligible"), {"kind": "not_eligible"}, None),
        (problem(403, "proof_required"), {"kind": "proof_required"}, None),
        (problem(409, "already_voted"), {"kind": "refused", "code": "already_voted"}, None),
        # Only the vote log can settle an unknown outcome: it knows accepted ballots.
        (problem(403, "foreign_origin"), {"kind": "refused", "code": "foreign_origin"}, RETRY),
        (problem(400, "malformed"), {"kind": "refused", "code": "malformed"}, RETRY),
        (problem(429, "rate_limited"), RETRY | {"busy": True}, None),
        (problem(503, "overloaded"), RETRY | {"busy": True}, None),
        (problem(503, "log_inconsistent"), RETRY | {"busy": True, "held": True}, None),
        (problem(503, "outcome_unknown"), RETRY, None),
        (problem(500, "internal_error"), RETRY, None),
    ],
)
def test_only_answers_in_the_servers_format_settle_a_ballot(
    run: Run, answer: list[Any], meaning: Any, in_doubt: Any
) -> None:
    assert run("vote/answer.js", ANSWER, [PENDING, *answer]) == meaning
    unsure = {**PENDING, "unknown": True}
    assert run("vote/answer.js", ANSWER, [unsure, *answer]) == (in_doubt or meaning)
