"""The voter endpoint and casting, for each identity policy."""

import time
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from polls import clock, lifecycle
from polls.models import ApiClient, InviteBatch, Poll
from polls.voters import eligibility, identity, invites, poll_rules
from tests.factories import count
from tests.polls.api_client import POLLS, Caller, make_key, make_poll, refusal
from tests.polls.voters.browsing import Browser, invited, person, status_of, token

#: Appends run in another thread, which sees only committed rows.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.full_only]


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    poll_rules.clear_cache()


# --- browser ---


def test_an_open_poll_accepts_any_browser() -> None:
    poll, browser = make_poll(open=True), Browser()
    browser.sign_in(person())
    known = browser.visit(poll, invite="x" * 32)
    assert (known["identity"], known["tag"]) == ("browser", None)
    nobody = {"account": None, "invite": None, "voted": False}
    assert status_of(known) == {"eligible": True, "needs": None, **nobody}
    assert browser.passes == []
    assert browser.cast(poll).status_code == 202
    assert browser.visit(poll)["voted"] is True


# --- login ---


def test_a_visitor_without_an_account_has_to_sign_in() -> None:
    poll, browser = make_poll(open=True, identity="login"), Browser()
    known = browser.visit(poll)
    assert status_of(known) == {
        "eligible": False, "needs": "login", "account": None, "invite": None, "voted": False,
    }  # fmt: skip
    assert (known["tag"], browser.passes) == (None, [])
    answer = browser.cast(poll)
    assert refusal(answer) == (403, "not_eligible")
    assert answer.json()["needs"] == "login"


def test_an_account_has_one_ballot_in_all_its_browsers() -> None:
    poll, anna = make_poll(open=True, identity="login"), person()
    first, second = Browser(), Browser()
    for browser in (first, second):
        browser.sign_in(anna)
    known = first.visit(poll)
    assert status_of(known) == {
        "eligible": True, "needs": None, "account": "anna", "invite": None, "voted": False,
    }  # fmt: skip
    cast = first.cast(poll).json()
    assert refusal(first.cast(poll)) == (409, "already_voted")
    elsewhere = second.visit(poll)
    assert (elsewhere["voted"], elsewhere["ballot_id"], elsewhere["receipt"]) == (
        True, cast["ballot_id"], cast["receipt"],
    )  # fmt: skip
    assert elsewhere["tag"] == known["tag"]
    assert refusal(second.cast(poll, 2)) == (409, "already_voted")


def test_two_accounts_on_one_device_are_two_voters() -> None:
    poll, browser = make_poll(open=True, identity="login"), Browser()
    browser.sign_in(person("anna"))
    anna = browser.visit(poll)
    receipt = browser.cast(poll).json()["receipt"]
    browser.sign_in(person("bert"))
    bert = browser.visit(poll)
    assert (bert["account"], bert["voted"], bert["receipt"]) == ("bert", False, None)
    assert bert["tag"] != anna["tag"]
    assert browser.cast(poll).json()["receipt"] != receipt


def test_signing_out_deletes_the_pass() -> None:
    poll, browser = make_poll(open=True, identity="login"), Browser()
    browser.sign_in(person())
    browser.visit(poll)
    browser.client.cookies.pop("sessionid")
    assert status_of(browser.visit(poll))["needs"] == "login"
    assert [(morsel.value, morsel["max-age"]) for morsel in browser.passes] == [("", "0"), ("", "0")]
    assert refusal(browser.cast(poll)) == (403, "not_eligible")


def test_a_deactivated_account_is_not_eligible() -> None:
    poll, browser, anna = make_poll(open=True, identity="login"), Browser(), person()
    browser.sign_in(anna)
    User.objects.filter(pk=anna.pk).update(is_active=False)
    assert browser.visit(poll)["needs"] == "login"


# --- invite ---


def test_an_invite_is_one_voter_on_any_device() -> None:
    poll, batch = invited()
    phone, laptop = Browser(), Browser()
    known = phone.visit(poll, token(batch))
    assert status_of(known) == {
        "eligible": True, "needs": None, "account": None, "invite": "accepted", "voted": False,
    }  # fmt: skip
    cast = phone.cast(poll).json()
    second = laptop.visit(poll, token(batch))
    assert (second["voted"], second["receipt"], second["tag"]) == (True, cast["receipt"], known["tag"])
    assert refusal(laptop.cast(poll, 2)) == (409, "already_voted")
    assert phone.visit(poll)["voted"] is True  # by the pass alone
    count()
    status = phone.client.get(f"/api/v1/receipts/{cast['receipt']}/").json()
    assert status == {"status": "counted", "poll": poll.code, "round": 1}


def test_each_invite_is_another_voter() -> None:
    poll, batch = invited()
    tags, browser = set(), Browser()
    for serial in (1, 2, 3):
        tags.add(browser.visit(poll, token(batch, serial))["tag"])
        assert browser.cast(poll).status_code == 202
    assert len(tags) == 3


@pytest.mark.parametrize("kind", ["made up", "empty", "beyond the count", "another poll's", "not ASCII"])
def test_an_invalid_invite_is_refused(kind: str) -> None:
    poll, batch = invited()
    sent = {
        "made up": "A" * 32,
        "empty": "",
        "beyond the count": token(batch, 4),
        "another poll's": token(invited()[1]),
        "not ASCII": "é" * 32,
    }[kind]
    browser = Browser()
    known = browser.visit(poll, sent.encode().decode("latin-1"))
    assert status_of(known) == {
        "eligible": False, "needs": "invite", "account": None, "invite": "invalid", "voted": False,
    }  # fmt: skip
    assert (browser.passes, known["tag"]) == ([], None)
    assert refusal(browser.cast(poll)) == (403, "not_eligible")


def test_an_invalid_invite_leaves_an_earlier_pass_alone() -> None:
    poll, batch = invited()
    browser = Browser()
    tag = browser.visit(poll, token(batch))["tag"]
    known = browser.visit(poll, "A" * 32)
    assert (known["eligible"], known["invite"], known["tag"]) == (True, "invalid", tag)


def test_a_revoked_invite_gets_no_pass_but_shows_its_ballot() -> None:
    poll, batch = invited()
    voted, waiting = Browser(), Browser()
    voted.visit(poll, token(batch, 1))
    receipt = voted.cast(poll).json()["receipt"]
    invites.revoke_batch(batch.pk, by="anna")
    known = waiting.visit(poll, token(batch, 2))
    assert status_of(known) == {
        "eligible": False, "needs": "invite", "account": None, "invite": "revoked", "voted": False,
    }  # fmt: skip
    assert waiting.passes == []
    assert refusal(waiting.cast(poll)) == (403, "not_eligible")
    known = voted.visit(poll, token(batch, 1))
    assert (known["voted"], known["receipt"], known["eligible"]) == (True, receipt, False)
    assert {morsel.value for morsel in voted.passes} == {""}


def test_a_pass_ends_within_an_hour_and_only_an_invite_renews_it(monkeypatch: pytest.MonkeyPatch) -> None:
    poll, batch = invited()
    browser, now = Browser(), time.time()
    browser.visit(poll, token(batch))
    assert {int(morsel["max-age"]) for morsel in browser.passes} == {identity.PASS_SECONDS}
    browser.visit(poll)
    assert browser.passes == []
    monkeypatch.setattr(clock, "now", lambda: now + identity.PASS_SECONDS + 2)
    assert browser.visit(poll)["needs"] == "invite"
    assert refusal(browser.cast(poll)) == (403, "not_eligible")
    assert browser.visit(poll, token(batch))["eligible"] is True
    assert browser.cast(poll).status_code == 202


def test_invites_are_valid_in_the_next_round_too() -> None:
    poll, batch = invited()
    browser = Browser()
    for _round in range(2):
        assert browser.visit(poll, token(batch))["voted"] is False
        assert browser.cast(poll).status_code == 202
        lifecycle.reset_poll(poll.pk)
        lifecycle.open_poll(poll.pk)


def test_a_pass_is_bound_to_its_poll_policy_and_secret() -> None:
    """A reset may change the policy, and a purge changes the secret: both invalidate passes."""
    poll, batch = invited()
    other = make_poll(open=True, identity="invite")
    browser = Browser()
    browser.visit(poll, token(batch))
    assert refusal(browser.cast(other)) == (403, "not_eligible")
    for changed in ({"identity": "login"}, {"identity": "invite", "secret": b"2" * 32}):
        Poll.objects.filter(pk=poll.pk).update(**changed)
        poll_rules.clear_cache()
        assert refusal(browser.cast(poll)) == (403, "not_eligible")


@pytest.mark.parametrize("identity", ["login", "invite"])
def test_a_pass_cookie_is_limited_to_its_poll(identity: str) -> None:
    poll, browser = make_poll(open=True, identity=identity), Browser()
    batch = InviteBatch.objects.create(poll=poll, count=1)
    browser.sign_in(person())
    browser.visit(poll, token(batch))
    assert {morsel["path"] for morsel in browser.passes} == {
        f"/api/v1/polls/{poll.code}/", f"/ws/polls/{poll.code}/",
    }  # fmt: skip
    for morsel in browser.passes:
        assert morsel["httponly"] is True
        assert morsel["samesite"] == "Lax"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("identity", ["login", "invite"])
def test_a_request_from_another_site_sets_no_cookie(identity: str, site: str) -> None:
    poll, browser = make_poll(open=True, identity=identity), Browser()
    batch = InviteBatch.objects.create(poll=poll, count=1)
    browser.sign_in(person())
    browser.visit(poll, token(batch), Sec_Fetch_Site=site)
    assert dict(browser.answer.cookies) == {}
    assert "Set-Cookie" not in browser.answer


@pytest.mark.parametrize("identity", ["login", "invite"])
def test_a_pass_shows_an_after_vote_tally_to_a_voter_who_has_voted(identity: str) -> None:
    poll, voter, other = (
        make_poll(open=True, identity=identity, results_visible="after_vote"),
        Browser(),
        Browser(),
    )
    batch = InviteBatch.objects.create(poll=poll, count=2)
    for serial, (browser, name) in enumerate([(voter, "anna"), (other, "bert")], 1):
        browser.sign_in(person(name))
        browser.visit(poll, token(batch, serial))
    voter.cast(poll)
    count()
    seen = [browser.client.get(f"{POLLS}{poll.code}/tally/").json() for browser in (voter, other)]
    assert [tally["visible"] for tally in seen] == [True, False]
    assert "ballots" not in seen[1]


@pytest.mark.parametrize("identity", ["login", "invite"])
def test_only_an_eligible_voter_gets_a_challenge(identity: str) -> None:
    poll, browser = make_poll(open=True, identity=identity, proof_of_work="on"), Browser()
    assert browser.visit(poll)["proof"] is None
    batch = InviteBatch.objects.create(poll=poll, count=1)
    browser.sign_in(person())
    assert browser.visit(poll, token(batch))["proof"] is not None
    assert refusal(browser.cast(poll)) == (403, "proof_required")


# --- client ---


def test_a_poll_for_api_clients_refuses_browsers() -> None:
    poll, browser = make_poll(open=True, identity="client"), Browser()
    assert browser.visit(poll)["needs"] == "client"
    answer = browser.cast(poll)
    assert refusal(answer) == (403, "not_eligible")
    assert answer.json()["needs"] == "client"


@pytest.mark.parametrize(
    ("identity", "taken"), [("browser", True), ("client", True), ("login", False), ("invite", False)]
)
def test_only_some_policies_accept_an_api_clients_ballots(identity: str, taken: bool) -> None:
    poll = make_poll(open=True, identity=identity)
    call = Caller(make_key(ApiClient.Scope.BALLOTS_WRITE))
    ballot = {"selections": [1], "voter": "seat-1", "ballot_id": str(uuid.uuid4())}
    one = call("POST", f"{POLLS}{poll.code}/ballots/", ballot)
    batch = call("POST", f"{POLLS}{poll.code}/ballots/batch/", {"ballots": [ballot]}).json()["outcomes"][0]
    if taken:
        assert (one.status_code, batch.get("status")) == (202, "accepted")
    else:
        assert refusal(one) == (403, "not_eligible")
        assert one.json()["needs"] == identity
        assert batch["code"] == "not_eligible"


# --- without the database ---


def test_an_earlier_pass_is_enough_while_the_database_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    poll, batch = invited()
    browser, stranger = Browser(), Browser()
    browser.visit(poll, token(batch))

    def away(*_: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr(eligibility, "find_batch", away)
    assert browser.visit(poll, token(batch))["eligible"] is True
    answer = stranger.client.get(f"{POLLS}{poll.code}/voter/", headers={invites.HEADER: token(batch)})
    assert refusal(answer) == (503, "unavailable")
