"""The voter endpoint's answer: who the visitor is, whether they may vote, and whether they have voted.

The REST view (voter.py) and the lane ahead of Django (voter_lane.py) both send this answer.
"""

import uuid
from typing import Any, NamedTuple

from polls.casting import ballot_box
from polls.casting.receipts import make_receipt
from polls.voters import eligibility, identity, proof_of_work
from polls.voters.eligibility import Credentials, Eligibility
from polls.voters.poll_rules import PollRules

CACHE_CONTROL = "private, no-store"


class VoterAnswer(NamedTuple):
    """A JSON document, and the Set-Cookie values for the voter cookie, if it is new, and for passes."""

    document: dict[str, Any]
    voter_cookie: str | None
    passes: list[str]


def voter_answer(rules: PollRules, credentials: Credentials, *, ours: bool, secure: bool) -> VoterAnswer:
    """Identify the visitor. Reads the database and the vote log, unless the visitor is new.

    ours: whether the request comes from our page. The page of another site must not set our cookies.
    """
    voter = eligibility.check_eligibility(credentials, rules)
    known = identity.read_cookie(credentials.cookies.get(identity.COOKIE)) is not None
    # The cookie is set even in polls that don't need it, because ballots with it can use the fast lanes.
    new = identity.new_cookie() if ours and not known else None
    ballot_id = ballot_box.current_ballot(rules, voter.key) if voter.key else None
    document = _document(rules, voter, ballot_id)
    document["proof"] = _challenge(rules, voter, new, ballot_id)
    passes = []
    if ours and voter.new_pass is not None:
        passes = identity.pass_headers(rules.code, voter.new_pass, secure=secure)
    return VoterAnswer(document, identity.cookie_header(new, secure=secure) if new else None, passes)


def is_ours(fetch_site: str | None) -> bool:
    """Whether a request with this Sec-Fetch-Site may come from our page."""
    return fetch_site in (None, "none", "same-origin")


def _document(rules: PollRules, voter: Eligibility, ballot_id: bytes | None) -> dict[str, Any]:
    key = voter.key
    own = rules.identity in identity.WITH_PASS
    return {
        "poll": rules.code,
        "round": rules.round,
        "state": rules.state,
        "identity": rules.identity,
        "eligible": voter.needs is None,
        "needs": voter.needs,
        "account": voter.account,
        "invite": voter.invite,
        "tag": identity.voter_tag(key) if key and own else None,
        "voted": ballot_id is not None,
        "ballot_id": str(uuid.UUID(bytes=ballot_id)) if ballot_id else None,
        "receipt": make_receipt(rules.id, rules.round, key, ballot_id, rules.receipt_format)
        if key and ballot_id
        else None,
        "revote": rules.revote,
    }


def _challenge(
    rules: PollRules, voter: Eligibility, new_cookie: str | None, ballot_id: bytes | None
) -> dict[str, Any] | None:
    """Return the challenge to solve while the voter decides, or None if the poll requires no proof."""
    if voter.needs is not None or not rules.requires_proof:
        return None
    token = identity.read_cookie(new_cookie)
    key = voter.key or (identity.browser_key(rules.voter_secret, token) if token else None)
    return (
        proof_of_work.new_challenge(proof_of_work.Voter(rules.id, rules.round, key), ballot_id)
        if key
        else None
    )
