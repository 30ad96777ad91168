"""Casting over HTTP: every error code, and that a refused ballot writes nothing."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from polls import lifecycle
from polls.casting import batch, log_writer
from polls.casting import cast as casting
from polls.errors import LogInconsistent, Overloaded, errors_by_code
from polls.models import ApiClient, Ballot, Claim, LogEntry, Poll
from polls.votelog import get_log
from polls.voters import identity, poll_rules
from tests.polls.api_client import POLLS, Caller, make_key, make_poll, refusal
from tests.servers import PATIENCE
from tests.threads import at_once

#: The append queue's thread writes the log, and sees only committed rows.
committed = pytest.mark.django_db(transaction=True)
RECEIPTS = "/api/v1/receipts/"


def stored_state() -> Any:
    log = get_log()
    return log.heads(), LogEntry.objects.count(), Claim.objects.count(), Ballot.objects.count()


@pytest.fixture
def no_trace() -> Iterator[None]:
    """Assert that the test writes nothing to the log or the ledger."""
    before = stored_state()
    yield
    assert stored_state() == before


@pytest.fixture
def poll(db: None) -> Poll:
    poll_rules.clear_cache()
    return make_poll(open=True)


def cast_path(poll: Poll) -> str:
    return f"{POLLS}{poll.code}/ballots/"


class Voter(Caller):
    """A browser with this voter cookie, or a new browser without one."""

    def __init__(self, cookie: str | None = "new") -> None:
        super().__init__()
        if cookie:
            self.client.cookies[identity.COOKIE] = identity.new_cookie() if cookie == "new" else cookie

    def cast(self, poll: Poll, *selections: int, **fields: Any) -> Any:
        return self("POST", cast_path(poll), {"selections": list(selections), **fields})


def cookie_of(answer: Any) -> str:
    """Return the voter cookie that an answer sets."""
    return str(answer["Set-Cookie"]).split(";")[0].removeprefix(f"{identity.COOKIE}=")


def count() -> None:
    from analytics.counting import batches, closing

    for partition in range(get_log().partitions):
        batches.count_partition(partition)
    closing.close_counted_polls()


# --- accepted ---


@committed
def test_a_ballot_is_accepted_and_counted(poll: Poll) -> None:
    answer = Voter().cast(poll, 2)
    assert answer.status_code == 202
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-store"
    document = answer.json()
    assert set(document) == {"ballot_id", "receipt", "status"}
    assert document["status"] == "accepted"
    assert uuid.UUID(document["ballot_id"])

    def status() -> Any:
        return Caller()("GET", f"{RECEIPTS}{document['receipt']}/").json()

    assert status() == {"status": "accepted", "poll": poll.code, "round": 1}
    count()
    assert status() == {"status": "counted", "poll": poll.code, "round": 1}
    tally = Caller()("GET", f"{POLLS}{poll.code}/tally/").json()
    assert [choice["votes"] for choice in tally["choices"]] == [0, 1, 0]


@committed
def test_a_retry_has_the_same_receipt(poll: Poll) -> None:
    voter, sent = Voter(), {"ballot_id": str(uuid.uuid4()), "round": 1}
    first = voter.cast(poll, 1, **sent)
    again = voter.cast(poll, 1, **sent)
    assert (again.status_code, again.json()) == (202, first.json())
    lifecycle.close_poll(poll.pk)
    assert voter.cast(poll, 1, **sent).json() == first.json()
    count()
    lifecycle.reset_poll(poll.pk)
    assert voter.cast(poll, 1, **sent).json() == first.json()
    assert Ballot.objects.count() == 1


@committed
@pytest.mark.parametrize("same", [True, False], ids=["one ballot", "one voter's ballots"])
def test_concurrent_copies_count_once(poll: Poll, same: bool) -> None:
    cookie, ballot_id = identity.new_cookie(), str(uuid.uuid4())
    ids = [ballot_id if same else str(uuid.uuid4()) for _ in range(24)]
    answers = at_once(lambda each: Voter(cookie).cast(poll, 1, ballot_id=each), ids)
    codes = [answer.status_code for answer in answers]
    assert codes.count(202) == (24 if same else 1)
    assert codes.count(409) == (0 if same else 23)
    assert len({answer.json().get("receipt") for answer in answers if answer.status_code == 202}) == 1
    count()
    assert Ballot.objects.count() == 1


@committed
def test_a_voter_may_change_their_ballot_where_the_poll_allows_it(poll: Poll) -> None:
    poll = make_poll(open=True, revote=True)
    voter = Voter()
    first = voter.cast(poll, 1).json()["ballot_id"]
    assert refusal(voter.cast(poll, 2)) == (409, "already_voted")
    assert refusal(voter.cast(poll, 2, replaces=str(uuid.uuid4()))) == (409, "already_voted")
    second = voter.cast(poll, 2, replaces=first)
    assert second.status_code == 202
    known = voter("GET", f"{POLLS}{poll.code}/voter/").json()
    assert known["ballot_id"] == second.json()["ballot_id"]
    assert known["receipt"] == second.json()["receipt"]


# --- refused for the body, the headers or the identity, before the vote log is called ---

NOT_BALLOTS = {
    "not JSON": b"selections=1",
    "nothing": b"",
    "cut off": b'{"selections": [1]',
    "not UTF-8": b'{"selections": [1], "voter": "\xff"}',
    "null": b"null",
    "a list": b"[1]",
    "no selections": b"{}",
    "selections is a number": b'{"selections": 1}',
    "selections is null": b'{"selections": null}',
    "a string selected": b'{"selections": ["1"]}',
    "true selected": b'{"selections": [true]}',
    "null selected": b'{"selections": [null]}',
    "a fraction selected": b'{"selections": [1.5]}',
    "a huge number": b'{"selections": [' + b"9" * 5_000 + b"]}",
    "100 selections": b'{"selections": [' + b"1," * 99 + b"1]}",
    "unknown field": b'{"selections": [1], "weight": 100}',
    "ballot_id is no UUID": b'{"selections": [1], "ballot_id": "1"}',
    "ballot_id is a number": b'{"selections": [1], "ballot_id": 1}',
    "replaces is no UUID": b'{"selections": [1], "replaces": "x"}',
    "round is a string": b'{"selections": [1], "round": "1"}',
    "round 0": b'{"selections": [1], "round": 0}',
    "round is huge": b'{"selections": [1], "round": 65536}',
    "a browser names a voter": b'{"selections": [1], "voter": "somebody"}',
    "nested too deep": b'{"selections": ' + b"[" * 10_000,
    "selections twice": b'{"selections": [1], "selections": [2]}',
    "selections twice, the same": b'{"selections":[1],"selections":[1]}',
    "selections twice, one escaped": rb'{"selections": [1], "selection\u0073": [2]}',
    "round twice": b'{"selections": [1], "round": 1, "round": 1}',
    "round twice, one null": b'{"selections": [1], "round": null, "round": 1}',
    "null twice": b'{"selections": [1], "replaces": null, "replaces": null}',
    "proof twice": b'{"selections": [1], "proof": "a", "proof": "b"}',
}


@pytest.mark.full_only
@pytest.mark.parametrize("body", NOT_BALLOTS.values(), ids=NOT_BALLOTS.keys())
def test_an_invalid_ballot_is_malformed(poll: Poll, no_trace: None, body: bytes) -> None:
    answer = Voter()("POST", cast_path(poll), body)
    assert refusal(answer) == (400, "malformed")
    assert "Set-Cookie" not in answer


@committed
@pytest.mark.parametrize(
    "more", ['"round": null', '"replaces": null, "ballot_id": null', '"voter": "row:7:seat:{b}"']
)
def test_colons_and_null_members_are_valid(poll: Poll, more: str) -> None:
    """The check for duplicate members counts colons. If there are too many, an exact check follows."""
    caller = Caller(make_key("ballots:write")) if "voter" in more else Voter()
    assert caller("POST", cast_path(poll), f'{{"selections": [1], {more}}}'.encode()).status_code == 202


@pytest.mark.full_only
@pytest.mark.parametrize(
    ("selections", "reason"),
    [
        ([4], "unknown_choice"),
        ([0], "unknown_choice"),
        ([-1], "unknown_choice"),
        ([10**25], "unknown_choice"),
        ([1, 1], "duplicate_choice"),
        ([1, 2], "too_many"),
        ([], "too_few"),
    ],
)
def test_a_selection_that_breaks_the_methods_rules_is_invalid(
    poll: Poll, no_trace: None, selections: list[int], reason: str
) -> None:
    answer = Voter().cast(poll, *selections)
    assert refusal(answer) == (400, "invalid_selection")
    assert answer.json()["reason"] == reason


@pytest.mark.parametrize(("selections", "reason"), [([1], "too_few"), ([1, 2, 3, 4], "too_many")])
@pytest.mark.django_db
def test_the_limits_of_multiple_choice_are_enforced(selections: list[int], reason: str) -> None:
    poll = make_poll(*"ABCD", open=True, method="multiple", min_selections=2, max_selections=3)
    before = stored_state()
    answer = Voter().cast(poll, *selections)
    assert (refusal(answer), answer.json()["reason"]) == ((400, "invalid_selection"), reason)
    assert stored_state() == before


@pytest.mark.full_only
@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonx"],
)
def test_only_json_is_accepted(poll: Poll, no_trace: None, content_type: str) -> None:
    answer = Voter(None)("POST", cast_path(poll), b'{"selections": [1]}', content_type)
    assert refusal(answer) == (415, "unsupported_media_type")
    assert "Set-Cookie" not in answer


@pytest.mark.full_only
@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://testserver.evil.example",
        "http://evil.example/testserver",
        "http://testserver:81",
        "http://testserver@evil.example",
        "file://testserver",
        "http://[",
        "",
    ],
)
def test_pages_of_other_sites_cannot_cast_or_set_a_cookie(poll: Poll, no_trace: None, origin: str) -> None:
    for voter in (Voter(), Voter(None)):
        answer = voter("POST", cast_path(poll), {"selections": [1]}, Origin=origin)
        assert refusal(answer) == (403, "foreign_origin")
        assert "Set-Cookie" not in answer
        assert "Access-Control-Allow-Origin" not in answer


@committed
def test_our_own_and_trusted_origins_can_cast(poll: Poll, settings: Any) -> None:
    settings.TRUSTED_ORIGINS = ["https://stage.example"]
    for origin in ("http://testserver", "HTTP://TestServer", "https://stage.example"):
        assert Voter()("POST", cast_path(poll), {"selections": [1]}, Origin=origin).status_code == 202


@pytest.mark.full_only
@pytest.mark.parametrize("size", [16 * 1024 + 1, 1_000_000])
def test_a_large_body_is_refused(poll: Poll, no_trace: None, size: int) -> None:
    body = b'{"selections": [1]}'.ljust(size)
    for voter in (Voter(), Voter(None)):
        answer = voter("POST", cast_path(poll), body)
        assert refusal(answer) == (413, "too_large")
        assert "Set-Cookie" not in answer


def test_checks_have_a_fixed_order(poll: Poll, no_trace: None) -> None:
    def status(content_type: str, origin: str, size: int, **sent: str) -> int:
        body = b"{}".ljust(size)
        return Voter(None)("POST", cast_path(poll), body, content_type, Origin=origin, **sent).status_code

    assert status("text/plain", "null", 20_000, Authorization="Api-Key x") == 415
    assert status("application/json", "null", 20_000, Authorization="Api-Key x") == 403
    assert status("application/json", "http://testserver", 20_000, Authorization="Api-Key x") == 413
    assert status("application/json", "http://testserver", 2, Authorization="Api-Key x") == 401
    assert status("application/json", "http://testserver", 2) == 401


@pytest.mark.parametrize("cookie", [None, "x", "A" * 43, "é" * 43, ""])
def test_a_forged_cookie_is_replaced_by_a_new_one(poll: Poll, no_trace: None, cookie: str | None) -> None:
    voter = Voter(cookie)
    answer = voter.cast(poll, 1)
    assert refusal(answer) == (401, "voter_unknown")
    assert answer["Set-Cookie"].startswith("voter=")
    assert "HttpOnly; SameSite=Lax" in answer["Set-Cookie"]


def test_a_cookie_with_one_changed_letter_is_invalid(poll: Poll, no_trace: None) -> None:
    cookie = identity.new_cookie()
    for at in (0, 10, 21, 30, 41):
        forged = cookie[:at] + ("B" if cookie[at] == "A" else "A") + cookie[at + 1 :]
        assert refusal(Voter(forged).cast(poll, 1)) == (401, "voter_unknown")


@committed
def test_an_unknown_voter_can_retry_with_the_new_cookie(poll: Poll) -> None:
    voter = Voter(None)
    first = voter.cast(poll, 1)
    voter.client.cookies[identity.COOKIE] = cookie_of(first)
    assert voter.cast(poll, 1).status_code == 202
    assert refusal(voter.cast(poll, 1)) == (409, "already_voted")


@pytest.mark.django_db
def test_the_cookie_is_secure_on_https() -> None:
    poll = make_poll()
    voter = Voter(None)
    assert "Secure" not in voter("GET", f"{POLLS}{poll.code}/voter/")["Set-Cookie"]
    answer = voter.client.get(f"{POLLS}{poll.code}/voter/", secure=True)
    assert answer["Set-Cookie"].endswith("; Secure")


@pytest.mark.parametrize("code", ["NOSUCH", "%00", "x" * 500])
@pytest.mark.django_db
def test_an_unknown_poll_is_not_found(no_trace: None, code: str) -> None:
    for path in ("ballots", "ballots/batch"):
        answer = Voter()("POST", f"{POLLS}{code}/{path}/", {"selections": [1]})
        assert refusal(answer) == (404, "poll_not_found")


def test_a_ballot_is_not_refused_over_its_accept_header(poll: Poll) -> None:
    answer = Voter(None)("POST", cast_path(poll), {"selections": [1]}, Accept="text/html")
    assert refusal(answer) == (401, "voter_unknown")


# --- refused by the vote log ---


@committed
def test_a_poll_accepts_ballots_only_while_it_is_open(poll: Poll) -> None:
    draft, due = make_poll(), make_poll(open=True, closes_at=timezone.now() + timedelta(seconds=2))
    lifecycle.close_poll(poll.pk)
    before = stored_state()
    assert refusal(Voter().cast(draft, 1)) == (409, "poll_not_open")
    assert refusal(Voter().cast(poll, 1)) == (409, "poll_not_open")
    count()
    lifecycle.publish_poll(poll.pk)
    assert refusal(Voter().cast(poll, 1)) == (409, "poll_not_open")
    # The gate closes by itself, before any process takes the step.
    until = timezone.now() + timedelta(seconds=PATIENCE)
    while (answer := Voter().cast(due, 1)).status_code == 202 and timezone.now() < until:
        before = stored_state()
    assert refusal(answer) == (409, "poll_not_open")
    assert stored_state()[0] == before[0]


@committed
def test_refusing_a_second_ballot_reveals_nothing_of_the_first(poll: Poll) -> None:
    voter = Voter()
    first = voter.cast(poll, 3).json()
    before = stored_state()
    answer = voter.cast(poll, 1)
    assert refusal(answer) == (409, "already_voted")
    assert set(answer.json()) == {"type", "title", "status", "detail", "code"}
    assert not any(secret in answer.content.decode() for secret in first.values())
    assert refusal(voter.cast(poll, 1, ballot_id=first["ballot_id"])) == (422, "ballot_id_reused")
    assert refusal(voter.cast(poll, 3, ballot_id=first["ballot_id"], round=2)) == (422, "ballot_id_reused")
    assert stored_state() == before


@committed
def test_a_ballot_of_another_round_is_refused(poll: Poll) -> None:
    for round_ in (2, 65_535):
        assert refusal(Voter().cast(poll, 1, round=round_)) == (409, "round_changed")
    lifecycle.reset_poll(poll.pk)
    lifecycle.open_poll(poll.pk)
    assert refusal(Voter().cast(poll, 1, round=1)) == (409, "round_changed")
    assert Voter().cast(poll, 1, round=2).status_code == 202


@committed
def test_overload_and_unknown_outcomes_are_503(
    poll: Poll, no_trace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(error: Exception) -> Any:
        def append(*_: Any) -> None:
            raise error

        return append

    log = type(get_log())
    for error, code in (
        (LogInconsistent(), "log_inconsistent"),
        (OperationalError("gone"), "outcome_unknown"),
        (RuntimeError("a bug"), "outcome_unknown"),
    ):
        monkeypatch.setattr(log, "append", raising(error))
        answer = Voter().cast(poll, 1)
        assert refusal(answer) == (503, code)
        assert "gone" not in answer.content.decode()
    monkeypatch.setattr(log_writer, "process_queue", raising(Overloaded()))
    assert refusal(Voter().cast(poll, 1)) == (503, "overloaded")


@pytest.mark.django_db
def test_the_outcome_is_unknown_while_the_database_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(casting, "get_rules", away)
    assert refusal(Voter()("POST", f"{POLLS}DEMO/ballots/", {"selections": [1]})) == (503, "outcome_unknown")


# --- API clients ---


@committed
def test_a_client_casts_for_its_own_voters(poll: Poll) -> None:
    client, other = Caller(make_key("ballots:write")), Caller(make_key("ballots:write"))
    path = cast_path(poll)
    assert client("POST", path, {"selections": [1], "voter": "anna"}).status_code == 202
    assert refusal(client("POST", path, {"selections": [1], "voter": "anna"})) == (409, "already_voted")
    assert client("POST", path, {"selections": [1], "voter": "béla\0"}).status_code == 202
    assert other("POST", path, {"selections": [1], "voter": "anna"}).status_code == 202
    # A key takes precedence over a cookie, so nobody can make a client vote as a browser.
    client.client.cookies[identity.COOKIE] = identity.new_cookie()
    assert refusal(client("POST", path, {"selections": [1]})) == (400, "malformed")


def test_an_invalid_voter_id_of_a_client_is_malformed(poll: Poll, no_trace: None) -> None:
    client = Caller(make_key("ballots:write"))
    for voter in ("", "x" * 201, 5, None, ["anna"]):
        answer = client("POST", cast_path(poll), {"selections": [1], "voter": voter})
        assert refusal(answer) == (400, "malformed")


@pytest.mark.parametrize("path", ["", "batch/"])
def test_invalid_keys_and_other_scopes_cannot_cast(poll: Poll, no_trace: None, path: str) -> None:
    body = {"selections": [1], "voter": "anna"}
    for key in (
        make_key("ballots:write", revoked=True),
        make_key("ballots:write", expiry_date=timezone.now() - timedelta(days=1)),
        "nonsense",
    ):
        assert refusal(Caller(key)("POST", cast_path(poll) + path, body)) == (401, "invalid_key")
    for scope in ("polls:write", "polls:read"):
        assert refusal(Caller(make_key(scope))("POST", cast_path(poll) + path, body)) == (
            403,
            "missing_scope",
        )


@committed
def test_a_revoked_key_cannot_cast(poll: Poll) -> None:
    client = Caller(make_key("ballots:write"))
    assert client("POST", cast_path(poll), {"selections": [1], "voter": "anna"}).status_code == 202
    ApiClient.objects.update(revoked=True)
    assert refusal(client("POST", cast_path(poll), {"selections": [1], "voter": "bela"})) == (
        401,
        "invalid_key",
    )


# --- batches ---


@committed
def test_a_batch_has_an_outcome_for_each_ballot(poll: Poll) -> None:
    client = Caller(make_key("ballots:write"))
    ballot_id = str(uuid.uuid4())
    ballots = [
        {"selections": [1], "voter": "anna", "ballot_id": ballot_id},
        {"selections": [9], "voter": "bela"},
        {"selections": [1]},
        {"selections": [2], "voter": "anna"},
        "nonsense",
        {"selections": [1], "voter": "carla", "round": 7},
        {"selections": [1], "voter": "anna", "ballot_id": ballot_id},
        {"selections": [3], "voter": "seat: 7"},
    ]
    answer = client("POST", cast_path(poll) + "batch/", {"ballots": ballots})
    assert answer.status_code == 200
    outcomes = answer.json()["outcomes"]
    assert [each["index"] for each in outcomes] == list(range(8))
    assert [each.get("code", each.get("status")) for each in outcomes] == [
        "accepted",
        "invalid_selection",
        "malformed",
        "already_voted",
        "malformed",
        "round_changed",
        "accepted",
        "accepted",
    ]
    for each in outcomes:
        keys = {"status", "ballot_id", "receipt"} if "status" in each else {"code", "detail"}
        assert set(each) == {"index"} | keys
    assert outcomes[0]["ballot_id"] == ballot_id
    assert outcomes[0]["receipt"] == outcomes[6]["receipt"]
    count()
    assert Ballot.objects.count() == 2
    again = client("POST", cast_path(poll) + "batch/", {"ballots": ballots[:1]}).json()
    assert again["outcomes"] == outcomes[:1]


@committed
def test_a_full_batch_is_accepted(poll: Poll, settings: Any) -> None:
    settings.BATCH_MAX_BALLOTS = 2_500
    client = Caller(make_key("ballots:write"))
    ballots = [{"selections": [1 + n % 3], "voter": str(n)} for n in range(2_501)]
    path = cast_path(poll) + "batch/"
    assert refusal(client("POST", path, {"ballots": ballots})) == (413, "too_large")
    outcomes = client("POST", path, {"ballots": ballots[:-1]}).json()["outcomes"]
    assert {each["status"] for each in outcomes} == {"accepted"}
    assert client("POST", path, {"ballots": []}).json() == {"outcomes": []}


BATCHES = [
    b"[]",
    b"{}",
    b'{"ballots": {}}',
    b'{"ballots": null}',
    b'{"ballots": [], "poll": 1}',
    b'{"ballots": [}',
    b'{"ballots": [], "ballots": []}',
    b'{"ballots": [{"selections": [1], "voter": "a"}], "ballots": []}',
    b'{"ballots": [], "ballots": [{"selections": [1], "voter": "a:b"}]}',
    rb'{"ballots": [], "ballot\u0073": []}',
]


@committed
def test_a_duplicate_member_in_a_batch_fails_only_its_ballot(poll: Poll) -> None:
    client = Caller(make_key("ballots:write"))
    twice = b'{"selections": [1], "selections": [2], "voter": "anna"}'
    answer = client(
        "POST", cast_path(poll) + "batch/", b'{"ballots": [%b, {"selections": [1], "voter": "b:c"}]}' % twice
    )
    assert [each.get("code", each.get("status")) for each in answer.json()["outcomes"]] == [
        "malformed",
        "accepted",
    ]


@pytest.mark.full_only
@pytest.mark.parametrize("body", BATCHES)
def test_an_invalid_batch_is_malformed(poll: Poll, no_trace: None, body: bytes) -> None:
    client = Caller(make_key("ballots:write"))
    assert refusal(client("POST", cast_path(poll) + "batch/", body)) == (400, "malformed")


def test_a_batch_is_checked_like_a_ballot_request(poll: Poll, no_trace: None, settings: Any) -> None:
    settings.BATCH_MAX_BYTES = 100
    path, key = cast_path(poll) + "batch/", make_key("ballots:write")
    assert refusal(Voter()("POST", path, {"ballots": []})) == (401, "invalid_key")
    assert refusal(Caller(key)("POST", path, {"ballots": []}, "text/plain")) == (
        415,
        "unsupported_media_type",
    )
    assert refusal(Caller(key)("POST", path, {"ballots": []}, Origin="null")) == (403, "foreign_origin")
    assert refusal(Caller(key)("POST", path, b'{"ballots": []}'.ljust(101))) == (413, "too_large")


@committed
def test_a_failed_append_leaves_only_its_chunk_unknown(poll: Poll, monkeypatch: pytest.MonkeyPatch) -> None:
    from polls.casting import append_queue

    log = type(get_log())
    append, calls = log.append, []

    def second_fails(self: Any, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OperationalError("gone")
        return append(self, *args)

    monkeypatch.setattr(batch, "MAX_APPEND_BALLOTS", 10)
    monkeypatch.setattr(append_queue, "MAX_APPEND_BALLOTS", 10)
    monkeypatch.setattr(log, "append", second_fails)
    ballots = [{"selections": [1], "voter": str(n)} for n in range(25)]
    answer = Caller(make_key("ballots:write"))("POST", cast_path(poll) + "batch/", {"ballots": ballots})
    codes = [each.get("code", "accepted") for each in answer.json()["outcomes"]]
    assert codes == ["accepted"] * 10 + ["outcome_unknown"] * 10 + ["accepted"] * 5


# --- the voter, and receipts ---


@pytest.mark.django_db
def test_the_voter_endpoint_sets_the_cookie_of_a_new_voter() -> None:
    poll, voter = make_poll(), Voter(None)
    answer = voter("GET", f"{POLLS}{poll.code.lower()}/voter/")
    assert answer.json() == {
        "poll": poll.code,
        "round": 1,
        "state": "draft",
        "identity": "browser",
        "eligible": True,
        "needs": None,
        "account": None,
        "invite": None,
        "tag": None,
        "voted": False,
        "ballot_id": None,
        "receipt": None,
        "revote": False,
        "proof": None,
    }
    assert answer["Cache-Control"] == "private, no-store"
    assert identity.read_cookie(cookie_of(answer))
    assert "Set-Cookie" not in Voter()("GET", f"{POLLS}{poll.code}/voter/")


@pytest.mark.full_only
@pytest.mark.parametrize(
    ("site", "sets_cookie"), [("cross-site", False), ("same-site", False), ("same-origin", True)]
)
@pytest.mark.django_db
def test_a_request_from_another_site_sets_no_cookie(site: str, sets_cookie: bool) -> None:
    answer = Voter(None)("GET", f"{POLLS}{make_poll().code}/voter/", Sec_Fetch_Site=site)
    assert answer.status_code == 200
    assert ("Set-Cookie" in answer) is sets_cookie


@committed
def test_a_voter_sees_only_their_own_ballot(poll: Poll) -> None:
    voter = Voter()
    cast = voter.cast(poll, 1).json()
    known = voter("GET", f"{POLLS}{poll.code}/voter/").json()
    assert (known["voted"], known["ballot_id"], known["receipt"]) == (
        True,
        cast["ballot_id"],
        cast["receipt"],
    )
    assert Voter()("GET", f"{POLLS}{poll.code}/voter/").json()["voted"] is False
    lifecycle.reset_poll(poll.pk)
    assert voter("GET", f"{POLLS}{poll.code}/voter/").json()["voted"] is False


@pytest.mark.parametrize("receipt", ["x", "A" * 72, "é" * 72, "%00" * 72, "=" * 72, "A" * 5_000])
@pytest.mark.django_db
def test_a_forged_receipt_is_not_found(receipt: str) -> None:
    assert refusal(Caller()("GET", f"{RECEIPTS}{receipt}/")) == (404, "receipt_not_found")


@committed
def test_receipts_reveal_nothing_of_the_selection(poll: Poll) -> None:
    receipts = [Voter().cast(poll, n).json()["receipt"] for n in (1, 2, 3)]
    count()
    answers = [Caller()("GET", f"{RECEIPTS}{receipt}/") for receipt in receipts]
    assert {len(receipt) for receipt in receipts} == {72}
    assert len({answer.content for answer in answers}) == 1
    flipped = receipts[0][:-1] + ("A" if receipts[0][-1] != "A" else "B")
    assert refusal(Caller()("GET", f"{RECEIPTS}{flipped}/")) == (404, "receipt_not_found")


def test_every_documented_code_keeps_its_status() -> None:
    """A code that disappears or changes its status breaks clients."""
    promised = (
        "malformed invalid_selection voter_unknown invalid_key foreign_origin missing_scope not_eligible"
        " poll_not_found already_voted poll_not_open round_changed too_large unsupported_media_type"
        " ballot_id_reused rate_limited overloaded outcome_unknown log_inconsistent"
    )
    assert set(promised.split()) <= set(errors_by_code())
    statuses = {code: error.status for code, error in errors_by_code().items()}
    assert [statuses[code] for code in promised.split()] == (
        [400, 400, 401, 401, 403, 403, 403, 404, 409, 409, 409, 413, 415, 422, 429, 503, 503, 503]
    )
