"""The ballot box: makes a valid ballot from a request, and the response from its outcome.

`cast.py` calls these steps in their order.
"""

import logging
import uuid
from typing import Any

import msgspec
from django.utils.translation import gettext as _
from structlog.contextvars import bound_contextvars

from polls.casting.receipts import make_receipt
from polls.casting.request import (
    ACCEPTED_HEADERS,
    BallotBody,
    CastRequest,
    CastResponse,
    parse_any_ballot,
    parse_ballot,
    round_named,
)
from polls.errors import (
    InternalError,
    InvalidSelection,
    LandslideError,
    Malformed,
    MissingScope,
    NotEligible,
    OutcomeUnknown,
    ProofRequired,
    VoterUnknown,
    errors_by_code,
    problem_details,
)
from polls.models import ApiClient, Identity
from polls.votelog import STORE_ERRORS, get_log, rate_limits
from polls.votelog.admission import ACCEPTED, NewBallot, Outcome
from polls.voters import identity, proof_of_work
from polls.voters.poll_rules import PollRules, rules_of_round

logger = logging.getLogger(__name__)

_encode = msgspec.json.encode
_MAX_CACHED_SELECTIONS = 1000


class RulesMayBeStale(Exception):
    """The ballot is invalid by cached rules; the rules in the database decide whether to refuse it."""


def eligible_voter_key(rules: PollRules, cookie: str | None, pass_: str | None) -> bytes | None:
    """Return the voter_key for these cookies, or None if they belong to no eligible voter."""
    try:
        return voter_key_from(rules, cookie, pass_)
    except (VoterUnknown, NotEligible):
        return None


def voter_key_from(rules: PollRules, cookie: str | None, pass_: str | None) -> bytes:
    """Return the voter_key for these cookies; raise VoterUnknown or NotEligible if there is none."""
    key = identity.identify_voter(rules.identity, rules.id, rules.voter_secret, cookie, pass_)
    if key in rules.ended_voters:
        raise NotEligible(_("This account was closed."), needs=str(rules.identity))
    return key


def current_ballot(rules: PollRules, voter_key: bytes) -> bytes | None:
    """Return the ballot_id of this voter's ballot in the current round, counted or not."""
    return get_log().find(rules.id, rules.round, voter_key)


def error_response(error: Exception, request: CastRequest) -> CastResponse:
    """Build the response to an error. A voter without a valid cookie gets a new one for the retry.

    Errors that aren't of our types are logged. After an error of a store, the ballot may have been written.
    """
    if not isinstance(error, LandslideError):
        error = _logged(error, request)
    status, headers, document = problem_details(error)
    if isinstance(error, VoterUnknown):
        headers["Set-Cookie"] = identity.cookie_header(identity.new_cookie(), secure=request.secure)
    return CastResponse(status, _encode(document), headers)


def _logged(error: Exception, request: CastRequest) -> LandslideError:
    known = {"request_id": request.request_id.decode()} if request.request_id else {}
    with bound_contextvars(**known):
        if isinstance(error, STORE_ERRORS):
            logger.error("cast_failed", exc_info=error)
            return OutcomeUnknown()
        logger.error("internal_error", exc_info=error)
        return InternalError()


def prepare(request: CastRequest, rules: PollRules, *, fresh: bool = False) -> NewBallot:
    """Build a valid ballot from a request; write nothing.

    `fresh` says that `rules` have just been read from the database. Cached rules may be from before a reset.
    If cached rules make a selection or a round invalid, RulesMayBeStale is raised.
    """
    client = identity.authenticate_client(request.authorization) if request.authorization else None
    if client is not None:
        require_scope(client)
        body = parse_by_rules(request.body or b"", rules, fresh=fresh)
        return new_ballot(rules, body, client_voter_key(rules, client, body), fresh=fresh)
    voter_key = voter_key_from(rules, request.cookie, request.pass_)
    body = parse_by_rules(request.body or b"", rules, fresh=fresh)
    if body.voter is not None:
        raise Malformed(_("Only API clients may name a voter."))
    if rules.requires_proof:
        _check_proof(rules, body, voter_key)
    rate_limit_keys = rate_limits.keys_of_cast(rules.id, voter_key, request.address, rules.venues)
    rule = rate_limits.check(rate_limit_keys, quarantine=rules.quarantines_over_limit)
    return new_ballot(
        rules, body, voter_key, fresh=fresh, quarantine_rule=rule, rate_limit_keys=rate_limit_keys
    )


def parse_by_rules(text: bytes, rules: PollRules, *, fresh: bool) -> BallotBody:
    """Parse a body as a ballot of the poll's method; `fresh` as in `prepare`."""
    try:
        return parse_ballot(text, rules.method)
    except Malformed:
        # The cached rules may be from before a reset, when the poll had a different method.
        if not fresh and parse_any_ballot(text):
            raise RulesMayBeStale() from None
        raise


def _check_proof(rules: PollRules, body: BallotBody, voter_key: bytes) -> None:
    """Raise ProofRequired unless the ballot has a valid proof of work.

    A proof names the ballot that was the voter's current one when the challenge was made: the ballot to
    replace, or none. A retry may have a new proof, which names the ballot itself if the first try was
    accepted.
    """
    replaced = body.replaces.bytes if body.replaces else None
    retried = (body.ballot_id.bytes,) if body.ballot_id else ()
    voter = proof_of_work.Voter(rules.id, body.round or rules.round, voter_key)
    if not (body.proof and proof_of_work.is_valid_proof(body.proof, voter, (replaced, *retried))):
        raise ProofRequired(challenge=f"/api/v1/polls/{rules.code}/challenge/")


def prepare_with_fresh_rules(request: CastRequest, rules: PollRules) -> NewBallot:
    """Build a valid ballot. Before refusing a ballot, check it by the rules in the database."""
    try:
        return prepare(request, rules)
    except RulesMayBeStale:
        round_ = round_named(request.body or b"")
        return prepare(request, rules_of_round(rules.code, round_), fresh=True)


def require_scope(client: ApiClient) -> None:
    if not client.allows(ApiClient.Scope.BALLOTS_WRITE):
        raise MissingScope(
            _("This needs the scope %(scope)s.") % {"scope": ApiClient.Scope.BALLOTS_WRITE.value}
        )


def client_voter_key(rules: PollRules, client: ApiClient, body: BallotBody) -> bytes:
    if rules.identity in (Identity.LOGIN, Identity.INVITE):
        # In these polls, each voter must be a known person. An API client could invent voters.
        raise NotEligible(_("In this poll voters cast their ballots themselves."), needs=rules.identity)
    if body.voter is None:
        raise Malformed(_("An API client names the voter of each ballot in `voter`."))
    return identity.client_key(rules.voter_secret, client, body.voter)


def new_ballot(
    rules: PollRules,
    body: BallotBody,
    voter_key: bytes,
    *,
    fresh: bool,
    quarantine_rule: str = "",
    rate_limit_keys: tuple[bytes, ...] = (),
) -> NewBallot:
    if not fresh and body.round is not None and body.round != rules.round:
        # After a reset, the poll's choices may differ from those in the cached rules.
        raise RulesMayBeStale()
    marks = tuple(body.marks.items()) if type(body.marks) is dict else body.marks
    selection = rules.canonical.get(marks)
    if selection is None:
        try:
            selection = rules.method.check(rules.rules, body.marks)
        except InvalidSelection:
            if not fresh:
                raise RulesMayBeStale() from None
            raise
        if len(rules.canonical) < _MAX_CACHED_SELECTIONS:
            rules.canonical[marks] = selection
    return NewBallot(
        poll_id=rules.id,
        voter_key=voter_key,
        ballot_id=(body.ballot_id or uuid.uuid4()).bytes,
        selection=selection,
        round=body.round,
        replaces=body.replaces.bytes if body.replaces else None,
        quarantine_rule=quarantine_rule,
        rate_limit_keys=rate_limit_keys,
        receipt_format=rules.receipt_format,
    )


def accepted_response(ballot: NewBallot, outcome: Outcome) -> CastResponse:
    """Build the response to the log's outcome; raise the error if the log refused the ballot."""
    return CastResponse(202, _encode(receipt_document(ballot, outcome)), ACCEPTED_HEADERS)


def receipt_document(ballot: NewBallot, outcome: Outcome) -> dict[str, Any]:
    """Build the document of an accepted ballot; raise the error if the log refused it."""
    if outcome.code != ACCEPTED:
        raise errors_by_code()[outcome.code]()
    return {
        "ballot_id": _uuid_text(ballot.ballot_id),
        "receipt": make_receipt(
            ballot.poll_id, outcome.round, ballot.voter_key, ballot.ballot_id, ballot.receipt_format
        ),
        "status": ACCEPTED,
    }


def _uuid_text(ballot_id: bytes) -> str:
    digits = ballot_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
