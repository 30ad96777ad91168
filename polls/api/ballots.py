"""Casting ballots, knowing the voter, and looking up receipts."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from polls import ballotbox, proofs, voters
from polls.ballotbox import Answer, CastRequest
from polls.receipts import make_receipt, receipt_status
from polls.rules import PollRules, get_rules

from .endpoints import Endpoint, raw_body
from .schema import (
    ALWAYS,
    ANYBODY,
    BODY,
    CODE,
    KEY_ONLY,
    KEY_OR_COOKIE,
    NEGOTIATED,
    RETRY_AFTER,
    refusals,
    response_header,
)
from .serializers import Accepted, Batch, BatchOutcomes, NewBallot, ReceiptDocument, VoterDocument

#: The codes that decide about a ballot itself, and in a batch stand in its outcome.
VERDICTS = (
    "invalid_selection",
    "not_eligible",
    "already_voted",
    "poll_not_open",
    "round_changed",
    "ballot_id_reused",
)
STORE = ("rate_limited", "overloaded", "outcome_unknown", "log_inconsistent")
ENVELOPE = (*ALWAYS, *BODY, "foreign_origin", "invalid_key", "missing_scope", "poll_not_found", *STORE)
COOKIE = OpenApiParameter(
    voters.COOKIE, OpenApiTypes.STR, OpenApiParameter.COOKIE, description="Who is voting, without an API key."
)
SET_COOKIE = "The `voter` cookie of a voter we didn't know."


class AnyAccept(BaseContentNegotiation):
    """A ballot isn't refused over its Accept header: there is one form of answer anyway."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class Ballots(Endpoint):
    """One ballot. `ballotbox.cast` does it all; this hands the request's parts over and the answer back."""

    authentication_classes: list[Any] = []
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="ballot_cast",
        tags=["ballots"],
        summary="Cast a ballot",
        description=(
            "202 means that the ballot is durable. Anything else may be sent again with the same `ballot_id`,"
            " as often as you like: it counts once. Voters come with a cookie (`voter`), API clients with a"
            " key and `voter`."
        ),
        auth=KEY_OR_COOKIE,
        parameters=[
            CODE,
            COOKIE,
            response_header("Set-Cookie", [401], SET_COOKIE),
            response_header("Retry-After", [429, 503], "Seconds to wait before the next try."),
        ],
        request=NewBallot,
        responses={202: Accepted} | refusals(*ENVELOPE, *VERDICTS, "voter_unknown", "proof_required"),
    )
    def post(self, request: Request, code: str) -> HttpResponse:
        return _response(ballotbox.cast(_parts(request, code, settings.CAST_MAX_BYTES)))


class BallotBatch(Endpoint):
    authentication_classes: list[Any] = []
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="ballot_batch",
        tags=["ballots"],
        summary="Cast many ballots",
        description=(
            "Each ballot is decided by itself: a refused one carries its code in its outcome and holds nobody"
            " up. One with `outcome_unknown` or `overloaded` may be sent again."
        ),
        auth=KEY_ONLY,
        parameters=[CODE, response_header("Retry-After", [429, 503], "Seconds to wait before the next try.")],
        request=Batch,
        responses={200: BatchOutcomes} | refusals(*ENVELOPE),
    )
    def post(self, request: Request, code: str) -> HttpResponse:
        return _response(ballotbox.cast_batch(_parts(request, code, settings.BATCH_MAX_BYTES)))


class Voter(Endpoint):
    """The one request of the voter's page that depends on the voter; it makes them known before they vote."""

    authentication_classes: list[Any] = []

    @extend_schema(
        operation_id="voter",
        tags=["ballots"],
        summary="Whether this browser has voted",
        auth=ANYBODY,
        parameters=[CODE, COOKIE, response_header("Set-Cookie", [200], SET_COOKIE), RETRY_AFTER],
        responses={200: VoterDocument} | refusals(*NEGOTIATED, "malformed", "poll_not_found"),
    )
    def get(self, request: Request, code: str) -> Response:
        rules = get_rules(code)
        token = voters.token_from(request.COOKIES.get(voters.COOKIE))
        new = voters.mint() if token is None and not _cross_site(request) else None
        key = voters.browser_key(rules.secret, token) if token else None
        ballot_id = ballotbox.current_ballot(rules, key) if key else None
        response = Response(
            {
                "poll": rules.code,
                "round": rules.round,
                "state": rules.state,
                "voted": ballot_id is not None,
                "ballot_id": str(uuid.UUID(bytes=ballot_id)) if ballot_id else None,
                "receipt": make_receipt(rules.id, rules.round, key, ballot_id) if key and ballot_id else None,
                "revote": rules.revote,
                "proof": _challenge(rules, token or voters.token_from(new)),
            },
            headers={"Cache-Control": "private, no-store"},
        )
        if new is not None:
            response["Set-Cookie"] = voters.cookie_header(new, secure=request.is_secure())
        return response


class Receipt(Endpoint):
    authentication_classes: list[Any] = []

    @extend_schema(
        operation_id="receipt",
        tags=["ballots"],
        summary="What became of a ballot",
        description="Never what it marks.",
        auth=ANYBODY,
        parameters=[RETRY_AFTER],
        responses={200: ReceiptDocument} | refusals(*NEGOTIATED, "malformed", "receipt_not_found"),
    )
    def get(self, request: Request, receipt: str) -> Response:
        return Response(receipt_status(receipt))


def _challenge(rules: PollRules, token: bytes | None) -> dict[str, Any] | None:
    """To be solved while the voter makes up their mind."""
    if token is None or not rules.wants_proof:
        return None
    return proofs.challenge(rules.id, voters.browser_key(rules.secret, token))


def _cross_site(request: Request) -> bool:
    """Whether another site's page asks: it must not plant an identity."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def _parts(request: Request, code: str, limit: int) -> CastRequest:
    return CastRequest(
        code=code,
        body=raw_body(request, limit),
        content_type=request.META.get("CONTENT_TYPE", ""),
        host=request.headers.get("Host", ""),
        origin=request.headers.get("Origin"),
        secure=request.is_secure(),
        cookie=request.COOKIES.get(voters.COOKIE),
        authorization=request.headers.get("Authorization"),
        pass_=request.COOKIES.get(voters.PASS_COOKIE),
    )


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=answer.headers)
