"""The one way in for a ballot: method's check → voter → vote log → receipt.

`cast` and `cast_batch` take the parts of an HTTP request and give the parts of the
answer, so that every lane in front of them answers alike. The fast lane (intake.py) takes
the same steps (`prepare`, `submit`, `accepted`, `refusal`) without waiting on a thread.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from threading import Lock, Thread
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _

from polls.casting.append_queue import APPEND_AT_MOST, Coalescer
from polls.casting.receipts import make_receipt
from polls.db_connections import in_thread
from polls.errors import (
    InvalidSelection,
    LandslideError,
    Malformed,
    MissingScope,
    NotEligible,
    OutcomeUnknown,
    Overloaded,
    ProofRequired,
    TooLarge,
    UnsupportedMediaType,
    VoterUnknown,
    errors_by_code,
    problem_details,
)
from polls.http.origins import check_origin
from polls.methods import encode
from polls.models import ApiClient, Identity
from polls.signals import ballots_appended, over_limit
from polls.text.strict_json import DuplicateMember, refuse_duplicates
from polls.votelog import STORE_ERRORS, get_log, kept_heads, learn_salt, rate_limits
from polls.votelog.admission import ACCEPTED, NewBallot, Outcome
from polls.votelog.entries import partition_of
from polls.voters import identity, proof_of_work
from polls.voters.poll_rules import PollRules, get_rules, rules_of_round

logger = logging.getLogger(__name__)


class CastRequest(msgspec.Struct, frozen=True, gc=False):
    """What of an HTTP request decides about a ballot. `body` is None where it was over the limit."""

    code: str
    body: bytes | None
    content_type: str
    host: str
    origin: str | None = None
    secure: bool = False
    cookie: str | None = None
    authorization: str | None = None
    pass_: str | None = None
    address: str = ""


class Answer(msgspec.Struct, frozen=True, gc=False):
    status: int
    body: bytes
    headers: dict[str, str]


class RulesDoubted(Exception):
    """The ballot isn't valid by rules that were kept for a moment: the database may know better."""


class BallotBody(msgspec.Struct, forbid_unknown_fields=True):
    """One ballot as sent; see the public contract in docs/api.md."""

    selections: Annotated[list[int], msgspec.Meta(max_length=99)]
    ballot_id: uuid.UUID | None = None
    round: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    replaces: uuid.UUID | None = None
    voter: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    proof: Annotated[str, msgspec.Meta(max_length=proof_of_work.MAX_LENGTH)] | None = None


class BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    ballots: list[msgspec.Raw]


_decode_ballot = msgspec.json.Decoder(BallotBody).decode
_decode_batch = msgspec.json.Decoder(BatchBody).decode
#: What msgspec and `strict_json` raise for a body that isn't one.
_NO_BODY = (msgspec.MsgspecError, UnicodeError, RecursionError, DuplicateMember)
_encode = msgspec.json.encode
_REMEMBERED_SELECTIONS = 1000
#: One object, so that a lane can tell by it that a ballot was accepted.
ACCEPTED_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def cast(request: CastRequest) -> Answer:
    """Cast one ballot and wait until it is durable."""
    try:
        check_envelope(request, settings.CAST_MAX_BYTES)
        ballot = prepare_surely(request, get_rules(request.code))
        return accepted(ballot, _append_among_others([ballot])[0])
    except LandslideError as error:
        return refusal(error, request)
    except STORE_ERRORS:
        logger.exception("cast_failed")
        return refusal(OutcomeUnknown(), request)


def cast_batch(request: CastRequest) -> Answer:
    """Cast up to settings.BATCH_MAX_BALLOTS ballots of an API client; one outcome each, in the order sent."""
    try:
        check_envelope(request, settings.BATCH_MAX_BYTES)
        rules = get_rules(request.code)
        client = identity.authenticate_client(request.authorization)
        if client is None:
            raise identity.InvalidKey(_("A batch needs an API key."))
        _need_scope(client)
        items = _batch_of(request.body or b"")
        if len(items) > settings.BATCH_MAX_BALLOTS:
            raise TooLarge(_("At most %(most)s ballots a batch.") % {"most": settings.BATCH_MAX_BALLOTS})
        outcomes = _cast_items(rules, client, items)
    except LandslideError as error:
        return refusal(error, request)
    except STORE_ERRORS:
        logger.exception("batch_failed")
        return refusal(OutcomeUnknown(), request)
    return Answer(200, _encode({"outcomes": outcomes}), ACCEPTED_HEADERS)


def _cast_items(rules: PollRules, client: ApiClient, items: Sequence[msgspec.Raw]) -> list[dict[str, Any]]:
    outcomes: list[dict[str, Any]] = [{} for _ in items]
    valid: list[tuple[int, NewBallot]] = []
    surely: dict[int | None, PollRules] = {}  # of each round that was in doubt, looked up once a batch
    for index, item in enumerate(items):
        try:
            body = _ballot_of(bytes(item))
            voter_key = _client_voter(rules, client, body)
            try:
                ballot = _new_ballot(rules, body, voter_key, sure=False)
            except RulesDoubted:
                if body.round not in surely:
                    surely[body.round] = rules_of_round(rules.code, body.round)
                ballot = _new_ballot(surely[body.round], body, voter_key, sure=True)
            valid.append((index, ballot))
        except LandslideError as error:
            outcomes[index] = _failed(index, error)

    chunks = [valid[i : i + APPEND_AT_MOST] for i in range(0, len(valid), APPEND_AT_MOST)]
    for chunk in chunks:
        # One chunk after the other: a batch must not fill the queue that single voters stand in.
        try:
            verdicts = _append_among_others([ballot for _, ballot in chunk])
        except LandslideError as error:
            for index, _ballot in chunk:
                outcomes[index] = _failed(index, error)
            continue
        for (index, ballot), verdict in zip(chunk, verdicts, strict=True):
            try:
                outcomes[index] = {"index": index, **_receipt(ballot, verdict)}
            except LandslideError as error:
                outcomes[index] = _failed(index, error)
    return outcomes


def _failed(index: int, error: LandslideError) -> dict[str, Any]:
    return {"index": index, "code": error.code, "detail": error.detail}


def browser_voter(rules: PollRules, cookie: str | None, pass_: str | None) -> bytes | None:
    """The voter_key behind these cookies, if it is one that may vote in the poll."""
    try:
        return voter_of(rules, cookie, pass_)
    except (VoterUnknown, NotEligible):
        return None


def voter_of(rules: PollRules, cookie: str | None, pass_: str | None) -> bytes:
    """The voter_key of who comes with these cookies; VoterUnknown or NotEligible where there is none."""
    key = identity.identify_voter(rules.identity, rules.id, rules.voter_secret, cookie, pass_)
    if key in rules.ended_voters:
        raise NotEligible(_("This account was closed."), needs=str(rules.identity))
    return key


def current_ballot(rules: PollRules, voter_key: bytes) -> bytes | None:
    """The ballot_id of this voter's ballot in the poll's current round, counted or not."""
    return get_log().find(rules.id, rules.round, voter_key)


def refusal(error: LandslideError, request: CastRequest) -> Answer:
    """The answer to a request that raised `error`; a voter we don't know gets a cookie to try again with."""
    status, headers, document = problem_details(error)
    if isinstance(error, VoterUnknown):
        headers["Set-Cookie"] = identity.cookie_header(identity.new_cookie(), secure=request.secure)
    return Answer(status, _encode(document), headers)


def prepare(request: CastRequest, rules: PollRules, *, sure: bool = False) -> NewBallot:
    """The ballot that a request casts, valid by the poll's rules; writes nothing.

    `rules` may be a moment old, from before a reset, and nothing kept refuses a ballot: without `sure`,
    what they would refuse raises RulesDoubted.
    """
    client = identity.authenticate_client(request.authorization) if request.authorization else None
    if client is not None:
        _need_scope(client)
        body = _ballot_of(request.body or b"")
        return _new_ballot(rules, body, _client_voter(rules, client, body), sure=sure)
    voter_key = voter_of(rules, request.cookie, request.pass_)
    body = _ballot_of(request.body or b"")
    if body.voter is not None:
        raise Malformed(_("Only API clients may name a voter."))
    if rules.requires_proof:
        _check_proof(rules, body, voter_key)
    counted_as = rate_limits.counted_as(rules.id, voter_key, request.address, rules.venues)
    aside = rate_limits.check(counted_as, set_apart=rules.quarantines_over_limit)
    return _new_ballot(rules, body, voter_key, sure=sure, aside=aside, counted_as=counted_as)


def _check_proof(rules: PollRules, body: BallotBody, voter_key: bytes) -> None:
    """ProofRequired unless the ballot brings a proof made for it.

    That is one from before it was in. Who has to repeat a ballot whose proof has ended may find that it is in
    by now, and the new proof is then made for a voter who has that very ballot in.
    """
    before = body.replaces.bytes if body.replaces else None
    itself = (body.ballot_id.bytes,) if body.ballot_id else ()
    voter = proof_of_work.Voter(rules.id, body.round or rules.round, voter_key)
    if not (body.proof and proof_of_work.is_valid_proof(body.proof, voter, (before, *itself))):
        raise ProofRequired(challenge=f"/api/v1/polls/{rules.code}/challenge/")


def prepare_surely(request: CastRequest, rules: PollRules) -> NewBallot:
    """`prepare`, with a look at the database where the rules are in doubt."""
    try:
        return prepare(request, rules)
    except RulesDoubted:
        round_ = _ballot_of(request.body or b"").round
        return prepare(request, rules_of_round(rules.code, round_), sure=True)


def check_envelope(request: CastRequest, limit: int) -> None:
    kind = request.content_type
    if kind != "application/json" and kind.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType()
    check_origin(request.origin, request.host, secure=request.secure)
    if request.body is None or len(request.body) > limit:
        raise TooLarge(_("At most %(most)s bytes.") % {"most": limit})


def _need_scope(client: ApiClient) -> None:
    if not client.allows(ApiClient.Scope.BALLOTS_WRITE):
        raise MissingScope(
            _("This needs the scope %(scope)s.") % {"scope": ApiClient.Scope.BALLOTS_WRITE.value}
        )


def _client_voter(rules: PollRules, client: ApiClient, body: BallotBody) -> bytes:
    if rules.identity in (Identity.LOGIN, Identity.INVITE):
        # Whoever holds a key could otherwise make up voters where each has to be somebody.
        raise NotEligible(_("In this poll voters cast their ballots themselves."), needs=rules.identity)
    if body.voter is None:
        raise Malformed(_("An API client names the voter of each ballot in `voter`."))
    return identity.client_key(rules.voter_secret, client, body.voter)


def _ballot_of(text: bytes) -> BallotBody:
    """The ballot in a body; Malformed where it isn't one, or a member comes twice."""
    try:
        body: BallotBody = _decode_ballot(text)
        # msgspec takes the last of two members. Cheap, for every cast: each member has a colon, so only a
        # body with more of them than we got (in a text, of a null, or of a second one) is read again.
        if text.count(b":") != _members_of(body):
            refuse_duplicates(text)
    except _NO_BODY as error:
        raise Malformed(str(error)) from None
    return body


def _members_of(body: BallotBody) -> int:
    given = 1 + (body.ballot_id is not None) + (body.round is not None) + (body.replaces is not None)
    return given + (body.voter is not None) + (body.proof is not None)


def _batch_of(text: bytes) -> list[msgspec.Raw]:
    """The ballots in a body, still to be read one by one."""
    try:
        ballots: list[msgspec.Raw] = _decode_batch(text).ballots
        # As above: the one colon outside the ballots is that of `ballots`.
        if text.count(b":") != 1 + sum(bytes(ballot).count(b":") for ballot in ballots):
            raise DuplicateMember("'ballots' comes twice in one object.")
    except _NO_BODY as error:
        raise Malformed(str(error)) from None
    return ballots


def _new_ballot(
    rules: PollRules,
    body: BallotBody,
    voter_key: bytes,
    *,
    sure: bool,
    aside: str = "",
    counted_as: tuple[bytes, ...] = (),
) -> NewBallot:
    if not sure and body.round is not None and body.round != rules.round:
        # The voter may know more than we do: a reset poll can have other choices.
        raise RulesDoubted()
    marks = tuple(body.selections)
    selection = rules.canonical.get(marks)
    if selection is None:
        try:
            selection = encode(rules.method.check(rules.rules, body.selections))
        except InvalidSelection:
            if not sure:
                raise RulesDoubted() from None
            raise
        if len(rules.canonical) < _REMEMBERED_SELECTIONS:
            rules.canonical[marks] = selection
    return NewBallot(
        poll_id=rules.id,
        voter_key=voter_key,
        ballot_id=(body.ballot_id or uuid.uuid4()).bytes,
        selection=selection,
        round=body.round,
        replaces=body.replaces.bytes if body.replaces else None,
        aside=aside,
        counted_as=counted_as,
    )


def accepted(ballot: NewBallot, outcome: Outcome) -> Answer:
    """The answer to a ballot that the log has decided on; raises what the log refused it with."""
    return Answer(202, _encode(_receipt(ballot, outcome)), ACCEPTED_HEADERS)


def _receipt(ballot: NewBallot, outcome: Outcome) -> dict[str, Any]:
    if outcome.code != ACCEPTED:
        raise errors_by_code()[outcome.code]()
    return {
        "ballot_id": _uuid_text(ballot.ballot_id),
        "receipt": make_receipt(ballot.poll_id, outcome.round, ballot.voter_key, ballot.ballot_id),
        "status": ACCEPTED,
    }


def _uuid_text(ballot_id: bytes) -> str:
    digits = ballot_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def submit(ballots: Sequence[NewBallot]) -> Future[list[Outcome]]:
    """Queue ballots for this process's next append; see Coalescer.submit for what it and the future raise."""
    return _coalescer().submit(ballots)


def _append_among_others(ballots: Sequence[NewBallot]) -> list[Outcome]:
    # Who waits must not sit on a database connection: the thread they wait for needs one.
    connection.close_if_unusable_or_obsolete()
    return _settle(submit(ballots))


def _settle(future: Future[list[Outcome]]) -> list[Outcome]:
    try:
        return future.result(timeout=settings.CAST_DEADLINE_SECONDS)
    except FutureTimeout:
        # Still in the queue: then it leaves it, and nothing was written.
        raise (Overloaded() if future.cancel() else OutcomeUnknown()) from None


_box: tuple[int, Coalescer] | None = None
_box_lock = Lock()


def _coalescer() -> Coalescer:
    """This process's coalescer; a fork needs its own, since threads don't survive one."""
    global _box
    box = _box
    if box is None or box[0] != os.getpid():
        with _box_lock:
            if _box is None or _box[0] != os.getpid():
                _box = (os.getpid(), Coalescer(_append, _announce, settings.CAST_QUEUE_LIMIT))
            box = _box
    return box[1]


def _append(ballots: Sequence[NewBallot]) -> list[Outcome]:
    log = get_log()
    try:
        outcomes = log.append(ballots, kept_heads())
        _follow_limits(ballots)
        return outcomes
    finally:
        # This thread lives as long as the process; a broken or stale connection must not live with it.
        connection.close_if_unusable_or_obsolete()


def _follow_limits(ballots: Sequence[NewBallot]) -> None:
    """Whatever goes wrong here, the ballots are in."""
    try:
        learn_salt()
        crossed = rate_limits.crossed_by((ballot.poll_id, ballot.counted_as) for ballot in ballots)
    except Exception:
        logger.warning("limits_not_followed", exc_info=True)
        return
    if crossed:
        Thread(target=in_thread, args=(_tell_of, crossed), name="over-limit", daemon=True).start()


def _tell_of(crossed: dict[tuple[int, str], int]) -> None:
    for (poll_id, kind), count in crossed.items():
        over_limit.send_robust(sender=None, poll_id=poll_id, kind=kind, count=count)


def _announce(ballots: Sequence[NewBallot]) -> None:
    partitions = get_log().partitions
    touched = {partition_of(ballot.poll_id, ballot.voter_key, partitions) for ballot in ballots}
    ballots_appended.send_robust(sender=None, partitions=touched)
