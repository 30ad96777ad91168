"""Endpoints for casting ballots and looking up receipts."""

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from polls.casting.batch import cast_batch
from polls.casting.cast import cast_and_wait
from polls.casting.receipts import receipt_status
from polls.casting.request import CastRequest, CastResponse
from polls.http.client_address import FORWARDED_FOR, client_address
from polls.voters import identity

from .endpoints import AnyAccept, Endpoint, raw_body
from .schema import (
    ALWAYS,
    ANYBODY,
    BODY,
    CODE,
    COOKIE,
    KEY,
    KEY_ONLY,
    KEY_OR_COOKIE,
    NEGOTIATED,
    RETRY_AFTER,
    SET_COOKIE,
    refusals,
    response_header,
)
from .serializers import Accepted, Batch, BatchOutcomes, NewBallot, ReceiptDocument

#: Codes about a ballot itself. In a batch, such a code is part of the ballot's outcome.
BALLOT = (
    "invalid_selection",
    "not_eligible",
    "already_voted",
    "poll_not_open",
    "round_changed",
    "ballot_id_reused",
)
STORE = ("rate_limited", "overloaded", "outcome_unknown", "unavailable", "log_inconsistent")
REQUEST = (*ALWAYS, *BODY, "foreign_origin", *KEY, "poll_not_found", *STORE)


class Ballots(Endpoint):
    """Cast one ballot. `cast_and_wait` does the work; this view converts request and response."""

    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="ballot_cast",
        tags=["ballots"],
        summary="Cast a ballot",
        description=(
            "202 means that the ballot is durable. After any other answer, send it again with the same"
            " `ballot_id`; it counts once. Voters are identified by the cookie `voter`, and `pass` where the"
            " poll asks for an account or an invite; API clients by a key and the field `voter`."
        ),
        auth=KEY_OR_COOKIE,
        parameters=[
            CODE,
            COOKIE,
            response_header("Set-Cookie", [401], SET_COOKIE),
            response_header("Retry-After", [429, 503], "Seconds to wait before the next try."),
        ],
        request=NewBallot,
        responses={202: Accepted} | refusals(*REQUEST, *BALLOT, "voter_unknown", "proof_required"),
    )
    def post(self, request: Request, code: str) -> HttpResponse:
        return _response(cast_and_wait(_cast_request(request, code, settings.CAST_MAX_BYTES)))


class BallotBatch(Endpoint):
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="ballot_batch",
        tags=["ballots"],
        summary="Cast many ballots",
        description=(
            "Each ballot has an outcome of its own; a refused one doesn't affect the others. Send those with"
            " `outcome_unknown`, `overloaded`, `unavailable` or `log_inconsistent` again, with the same"
            " `ballot_id`."
        ),
        auth=KEY_ONLY,
        parameters=[CODE, response_header("Retry-After", [429, 503], "Seconds to wait before the next try.")],
        request=Batch,
        responses={200: BatchOutcomes} | refusals(*REQUEST),
    )
    def post(self, request: Request, code: str) -> HttpResponse:
        return _response(cast_batch(_cast_request(request, code, settings.BATCH_MAX_BYTES)))


class Receipt(Endpoint):
    @extend_schema(
        operation_id="receipt",
        tags=["ballots"],
        summary="Whether a ballot is counted",
        description="The answer doesn't reveal the selection.",
        auth=ANYBODY,
        parameters=[RETRY_AFTER],
        responses={200: ReceiptDocument} | refusals(*NEGOTIATED, "malformed", "receipt_not_found"),
    )
    def get(self, request: Request, receipt: str) -> Response:
        return Response(receipt_status(receipt))


def _cast_request(request: Request, code: str, limit: int) -> CastRequest:
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
