"""Casting ballots, and looking up receipts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from polls.casting import ballot_box, batch
from polls.casting.receipts import receipt_status
from polls.casting.request import CastRequest, CastResponse
from polls.http.client_address import FORWARDED_FOR, client_address
from polls.voters import identity

from .endpoints import Endpoint, raw_body
from .schema import (
    ALWAYS,
    ANYBODY,
    BODY,
    CODE,
    COOKIE,
    KEY_ONLY,
    KEY_OR_COOKIE,
    NEGOTIATED,
    RETRY_AFTER,
    SET_COOKIE,
    refusals,
    response_header,
)
from .serializers import Accepted, Batch, BatchOutcomes, NewBallot, ReceiptDocument

#: The codes that decide about a ballot itself, and in a batch stand in its outcome.
VERDICTS = (
    "invalid_selection",
    "not_eligible",
    "already_voted",
    "poll_not_open",
    "round_changed",
    "ballot_id_reused",
)
STORE = ("rate_limited", "overloaded", "outcome_unknown", "unavailable", "log_inconsistent")
ENVELOPE = (*ALWAYS, *BODY, "foreign_origin", "invalid_key", "missing_scope", "poll_not_found", *STORE)


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
            " as often as you like: it counts once. Voters come with cookies (`voter`, and where the poll's"
            " voters sign in or are invited `pass`), API clients with a key and `voter`."
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
        return _response(ballot_box.cast(_parts(request, code, settings.CAST_MAX_BYTES)))


class BallotBatch(Endpoint):
    authentication_classes: list[Any] = []
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="ballot_batch",
        tags=["ballots"],
        summary="Cast many ballots",
        description=(
            "Each ballot is decided by itself: a refused one carries its code in its outcome and holds nobody"
            " up, nor speaks for it. One with `outcome_unknown`, `overloaded`, `unavailable` or"
            " `log_inconsistent` is sent again, with its `ballot_id`."
        ),
        auth=KEY_ONLY,
        parameters=[CODE, response_header("Retry-After", [429, 503], "Seconds to wait before the next try.")],
        request=Batch,
        responses={200: BatchOutcomes} | refusals(*ENVELOPE),
    )
    def post(self, request: Request, code: str) -> HttpResponse:
        return _response(batch.cast_batch(_parts(request, code, settings.BATCH_MAX_BYTES)))


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


def _parts(request: Request, code: str, limit: int) -> CastRequest:
    return CastRequest(
        code=code,
        body=raw_body(request, limit),
        content_type=request.META.get("CONTENT_TYPE", ""),
        host=request.headers.get("Host", ""),
        origin=request.headers.get("Origin"),
        secure=request.is_secure(),
        cookie=request.COOKIES.get(identity.COOKIE),
        authorization=request.headers.get("Authorization"),
        pass_=request.COOKIES.get(identity.PASS_COOKIE),
        address=client_address(request.META.get("REMOTE_ADDR"), request.headers.get(FORWARDED_FOR)),
    )


def _response(answer: CastResponse) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=answer.headers)
