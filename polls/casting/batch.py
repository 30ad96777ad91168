"""Batches: many ballots of an API client in one request."""

from collections.abc import Sequence
from typing import Any

import msgspec
from django.conf import settings
from django.utils.translation import gettext as _

from polls.casting.append_queue import MAX_APPEND_BALLOTS
from polls.casting.ballot_box import (
    RulesMayBeStale,
    client_voter_key,
    error_response,
    new_ballot,
    parse_by_rules,
    receipt_document,
    require_scope,
)
from polls.casting.log_writer import append_and_wait
from polls.casting.request import (
    ACCEPTED_HEADERS,
    CastRequest,
    CastResponse,
    check_envelope,
    parse_batch,
    round_named,
)
from polls.errors import LandslideError, TooLarge
from polls.models import ApiClient
from polls.votelog.admission import NewBallot
from polls.voters import identity
from polls.voters.poll_rules import PollRules, get_rules, rules_of_round


def cast_batch(request: CastRequest) -> CastResponse:
    """Cast up to settings.BATCH_MAX_BALLOTS ballots; respond with one outcome each, in the order sent."""
    try:
        check_envelope(request, settings.BATCH_MAX_BYTES)
        rules = get_rules(request.code)
        client = identity.authenticate_client(request.authorization)
        if client is None:
            raise identity.InvalidKey(_("A batch needs an API key."))
        require_scope(client)
        items = parse_batch(request.body or b"")
        if len(items) > settings.BATCH_MAX_BALLOTS:
            raise TooLarge(_("At most %(most)s ballots a batch.") % {"most": settings.BATCH_MAX_BALLOTS})
        outcomes = _cast_items(rules, client, items)
    except Exception as error:
        return error_response(error, request)
    return CastResponse(200, msgspec.json.encode({"outcomes": outcomes}), ACCEPTED_HEADERS)


def _cast_items(rules: PollRules, client: ApiClient, items: Sequence[msgspec.Raw]) -> list[dict[str, Any]]:
    outcomes: list[dict[str, Any]] = [{} for _ in items]
    valid: list[tuple[int, NewBallot]] = []
    fresh_rules: dict[int | None, PollRules] = {}  # by round, loaded at most once per batch
    for index, item in enumerate(items):
        try:
            try:
                ballot = _prepare(rules, client, item, fresh=False)
            except RulesMayBeStale:
                round_ = round_named(bytes(item))
                if round_ not in fresh_rules:
                    fresh_rules[round_] = rules_of_round(rules.code, round_)
                ballot = _prepare(fresh_rules[round_], client, item, fresh=True)
            valid.append((index, ballot))
        except LandslideError as error:
            outcomes[index] = _error_outcome(index, error)

    for start in range(0, len(valid), MAX_APPEND_BALLOTS):
        # Wait for each chunk before the next one, so that a batch doesn't fill the queue that voters use too.
        chunk = valid[start : start + MAX_APPEND_BALLOTS]
        verdicts = append_and_wait([ballot for _, ballot in chunk])
        for (index, ballot), verdict in zip(chunk, verdicts, strict=True):
            try:
                outcomes[index] = {"index": index, **receipt_document(ballot, verdict)}
            except LandslideError as error:
                outcomes[index] = _error_outcome(index, error)
    return outcomes


def _prepare(rules: PollRules, client: ApiClient, item: msgspec.Raw, *, fresh: bool) -> NewBallot:
    body = parse_by_rules(bytes(item), rules, fresh=fresh)
    return new_ballot(rules, body, client_voter_key(rules, client, body), fresh=fresh)


def _error_outcome(index: int, error: LandslideError) -> dict[str, Any]:
    return {"index": index, "code": error.code, "detail": error.detail}
