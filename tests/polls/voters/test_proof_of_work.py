"""Proofs of work, solved by ALTCHA's own library: one ballot of one voter, valid for ten minutes."""

import base64
import json
import uuid
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from altcha.v1 import Payload, solve_challenge
from django.http import HttpResponse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from polls import clock, lifecycle
from polls.models import Poll
from polls.voters import identity, proof_of_work
from polls.voters.poll_rules import get_rules
from tests.polls.api_client import POLLS, Caller, make_poll, refusal

ANN, BOB = (proof_of_work.Voter(7, 1, key * 16) for key in (b"a", b"b"))
TEA, COFFEE = b"t" * 16, b"c" * 16  # ballots


@pytest.fixture(autouse=True)
def little_work(settings: Any) -> None:
    settings.PROOF_WORK = 300


def solved(challenge: dict[str, Any], **changes: Any) -> str:
    """Solve a challenge with ALTCHA's own library. Return the payload."""
    terms = {name: challenge[name] for name in ("algorithm", "challenge", "salt", "signature")}
    number = solve_challenge(terms["challenge"], terms["salt"], terms["algorithm"], challenge["maxnumber"])
    assert number is not None
    return Payload(**(terms | {"number": number.number} | changes)).to_base64()


def test_a_solved_challenge_is_valid() -> None:
    assert proof_of_work.is_valid_proof(solved(proof_of_work.new_challenge(ANN, None)), ANN)


def test_a_proof_is_bound_to_its_voter_and_poll() -> None:
    proof = solved(proof_of_work.new_challenge(ANN, None))
    assert not proof_of_work.is_valid_proof(proof, BOB)
    assert not proof_of_work.is_valid_proof(proof, ANN._replace(poll_id=8))


def test_a_proof_is_bound_to_its_round() -> None:
    assert not proof_of_work.is_valid_proof(
        solved(proof_of_work.new_challenge(ANN, None)), ANN._replace(round=2)
    )


@pytest.mark.parametrize("made_for", [None, TEA, bytes(16)])
def test_a_proof_is_bound_to_the_voters_current_ballot(made_for: bytes | None) -> None:
    proof = solved(proof_of_work.new_challenge(ANN, made_for))
    for other in {None, TEA, COFFEE, bytes(16)} - {made_for}:
        assert not proof_of_work.is_valid_proof(proof, ANN, [other])
        assert proof_of_work.is_valid_proof(proof, ANN, [other, made_for])


def test_challenges_are_unique() -> None:
    assert len({proof_of_work.new_challenge(ANN, None)["challenge"] for _ in range(20)}) == 20


def test_only_the_right_number_is_valid() -> None:
    challenge = proof_of_work.new_challenge(ANN, None)
    right = json.loads(base64.b64decode(solved(challenge)))["number"]
    assert not any(
        proof_of_work.is_valid_proof(solved(challenge, number=number), ANN)
        for number in range(301)
        if number != right
    )


def test_a_proof_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    proof, now = solved(proof_of_work.new_challenge(ANN, None)), clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + proof_of_work.VALID_SECONDS - 1)
    assert proof_of_work.is_valid_proof(proof, ANN)
    monkeypatch.setattr(clock, "now", lambda: now + proof_of_work.VALID_SECONDS + 2)
    assert not proof_of_work.is_valid_proof(proof, ANN)


def test_the_expiry_of_a_proof_can_not_be_forged() -> None:
    challenge = proof_of_work.new_challenge(ANN, None)
    nonce, _, end = challenge["salt"].rstrip("&").partition("?expires=")
    number = json.loads(base64.b64decode(solved(challenge)))["number"]
    digits = f"{end}&{number}"
    for salt, rest in (
        (f"{nonce}?expires={int(end) + 999}&", number),
        (f"{nonce}?expires={end}&expires={int(end) + 999}&", number),
        # The hashed text is the same but split elsewhere: a later expiry, with fewer digits for the number.
        (f"{nonce}?expires={digits[:11]}", digits[11:]),
        (f"{nonce}?expires={end}", number),
        ("", f"{challenge['salt']}{number}"),
    ):
        forged = base64.b64encode(
            json.dumps({**challenge, "salt": salt, "number": rest}, default=str).encode()
        )
        assert not proof_of_work.is_valid_proof(forged.decode(), ANN), salt


def test_a_proof_outlives_a_change_of_the_secret_key(settings: Any) -> None:
    proof = solved(proof_of_work.new_challenge(ANN, None))
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another " * 8
    assert proof_of_work.is_valid_proof(proof, ANN)
    settings.SECRET_KEY_FALLBACKS = []
    assert not proof_of_work.is_valid_proof(proof, ANN)


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.b64encode(raw).decode())))
def test_the_check_never_raises(text: str) -> None:
    assert not proof_of_work.is_valid_proof(text, ANN)


FIELDS = st.fixed_dictionaries(
    {
        "algorithm": st.sampled_from(["SHA-256", "SHA-1", ""]),
        "number": st.one_of(st.integers(), st.floats(), st.none()),
        "salt": st.one_of(st.from_regex(proof_of_work._SALT), st.text()),
        "signature": st.one_of(st.text(), st.none()),
    }
)


@given(FIELDS)
def test_forged_proofs_are_invalid(fields: dict[str, Any]) -> None:
    assert not proof_of_work.is_valid_proof(base64.b64encode(json.dumps(fields).encode()).decode(), ANN)


# --- over the API ---


def minted(answer: Any) -> str:
    return str(SimpleCookie(answer["Set-Cookie"])[identity.COOKIE].value)


def challenge_of(poll: Poll, cookie: str | None) -> HttpResponse:
    caller = Caller()
    if cookie:
        caller.client.cookies[identity.COOKIE] = cookie
    return caller("GET", f"{POLLS}{poll.code}/challenge/")


@pytest.mark.django_db
def test_a_challenge_is_for_the_voter_who_asked() -> None:
    poll, cookie = make_poll(open=True), identity.new_cookie()
    answer: Any = challenge_of(poll, cookie)
    key = identity.identify_voter(poll.identity, poll.pk, poll.voter_secret(), cookie, None)
    assert answer["Cache-Control"] == "private, no-store"
    assert proof_of_work.is_valid_proof(solved(answer.json()), proof_of_work.Voter(poll.pk, 1, key))


@pytest.mark.django_db
def test_an_unknown_voter_gets_a_cookie_first() -> None:
    answer = challenge_of(make_poll(open=True), None)
    assert refusal(answer) == (401, "voter_unknown")
    assert identity.read_cookie(minted(answer))
    assert refusal(challenge_of(make_poll(open=True, identity="invite"), identity.new_cookie())) == (
        403,
        "not_eligible",
    )


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"proof_of_work": "off"}, False),
        ({"proof_of_work": "auto"}, False),
        ({"proof_of_work": "on"}, True),
        ({"proof_of_work": "auto", "proof_until": 60}, True),
        ({"proof_of_work": "auto", "proof_until": -60}, False),
        ({"proof_of_work": "off", "proof_until": 60}, False),
    ],
)
@pytest.mark.django_db
def test_the_voter_endpoint_includes_a_challenge_if_the_poll_requires_proofs(
    fields: dict[str, Any], wanted: bool
) -> None:
    poll = make_poll(open=True)
    if seconds := fields.get("proof_until"):
        fields = fields | {"proof_until": timezone.now() + timedelta(seconds=seconds)}
    Poll.objects.filter(pk=poll.pk).update(**fields)
    rules = get_rules(poll.code, fresh=True)
    assert rules.requires_proof is wanted
    answer: Any = Caller()("GET", f"{POLLS}{poll.code}/voter/")
    challenge = answer.json()["proof"]
    assert (challenge is not None) is wanted
    if wanted:
        # On a first visit, the challenge is for the voter whose cookie the answer sets.
        key = identity.identify_voter(poll.identity, poll.pk, rules.voter_secret, minted(answer), None)
        assert proof_of_work.is_valid_proof(solved(challenge), proof_of_work.Voter(poll.pk, 1, key))


class Voting:
    """A browser in a poll that requires proofs and allows revotes."""

    def __init__(self) -> None:
        self.poll = make_poll(open=True, revote=True)
        Poll.objects.filter(pk=self.poll.pk).update(proof_of_work="on")
        self.caller = Caller()
        self.path = f"{POLLS}{self.poll.code}/"
        met: Any = self.caller("GET", f"{self.path}voter/")
        self.caller.client.cookies[identity.COOKIE] = minted(met)
        self.proof = solved(met.json()["proof"])

    def renewed(self) -> str:
        return solved(self.caller("GET", f"{self.path}challenge/").json())

    def cast(self, ballot_id: uuid.UUID, proof: str, **more: Any) -> tuple[int, str]:
        body = {"selections": [1], "ballot_id": str(ballot_id), "proof": proof, **more}
        answer = self.caller("POST", f"{self.path}ballots/", body)
        return (202, "") if answer.status_code == 202 else refusal(answer)


A, B, C = (uuid.UUID(int=number) for number in range(3))
ASKED = (403, "proof_required")


@pytest.mark.django_db(transaction=True)
def test_each_new_ballot_needs_a_new_proof() -> None:
    voting = Voting()
    first = voting.proof
    assert voting.cast(A, first) == (202, "")
    assert voting.cast(A, first) == (202, "")  # a retry, as after a lost answer
    assert voting.cast(B, first, replaces=str(A)) == ASKED
    assert voting.cast(B, first) == (409, "already_voted")
    second = voting.renewed()
    assert voting.cast(B, second, replaces=str(A)) == (202, "")
    assert voting.cast(C, second, replaces=str(B)) == ASKED


@pytest.mark.django_db(transaction=True)
def test_a_retry_may_use_a_newer_proof() -> None:
    voting = Voting()
    assert voting.cast(A, voting.proof) == (202, "")
    assert voting.cast(A, voting.renewed()) == (202, "")
    assert voting.cast(B, voting.renewed(), replaces=str(A)) == (202, "")
    assert voting.cast(B, voting.renewed(), replaces=str(A)) == (202, "")


@pytest.mark.django_db(transaction=True)
def test_a_proof_is_refused_in_the_next_round() -> None:
    voting = Voting()
    lifecycle.reset_poll(voting.poll.pk)
    lifecycle.open_poll(voting.poll.pk)
    assert voting.cast(A, voting.proof) == ASKED
    assert voting.cast(A, voting.proof, round=2) == ASKED
    assert voting.cast(A, voting.proof, round=1) == (409, "round_changed")
    assert voting.cast(A, voting.renewed()) == (202, "")
