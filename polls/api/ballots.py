"""Casting ballots, knowing the voter, and looking up receipts."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.http.request import UnreadablePostError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from polls import ballotbox, voters
from polls.ballotbox import Answer, CastRequest
from polls.receipts import make_receipt, receipt_status
from polls.rules import get_rules


class CastView(APIView):
    """One ballot. `ballotbox.cast` does it all; this hands the request's parts over and the answer back."""

    authentication_classes: list[Any] = []

    def post(self, request: Request, code: str) -> HttpResponse:
        return _response(ballotbox.cast(_parts(request, code, settings.CAST_MAX_BYTES)))


class BatchView(APIView):
    authentication_classes: list[Any] = []

    def post(self, request: Request, code: str) -> HttpResponse:
        return _response(ballotbox.cast_batch(_parts(request, code, settings.BATCH_MAX_BYTES)))


class VoterView(APIView):
    """The one request of the voter's page that depends on the voter; it makes them known before they vote."""

    authentication_classes: list[Any] = []

    def get(self, request: Request, code: str) -> Response:
        rules = get_rules(code)
        token = voters.token_from(request.COOKIES.get(voters.COOKIE))
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
            },
            headers={"Cache-Control": "private, no-store"},
        )
        if token is None and not _cross_site(request):
            response["Set-Cookie"] = voters.cookie_header(voters.mint(), secure=request.is_secure())
        return response


class ReceiptView(APIView):
    authentication_classes: list[Any] = []

    def get(self, request: Request, receipt: str) -> Response:
        return Response(receipt_status(receipt), headers={"Cache-Control": "no-store"})


def _cross_site(request: Request) -> bool:
    """Whether another site's page asks: it must not plant an identity."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def _parts(request: Request, code: str, limit: int) -> CastRequest:
    return CastRequest(
        code=code,
        body=_body(request, limit),
        content_type=request.META.get("CONTENT_TYPE", ""),
        host=request.headers.get("Host", ""),
        origin=request.headers.get("Origin"),
        secure=request.is_secure(),
        cookie=request.COOKIES.get(voters.COOKIE),
        authorization=request.headers.get("Authorization"),
    )


def _body(request: Request, limit: int) -> bytes | None:
    """The raw body; None where it is over the limit, which is then not read at all."""
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
            return None
        return request._request.read(limit + 1)
    except (ValueError, UnreadablePostError):
        return b""


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=answer.headers)
