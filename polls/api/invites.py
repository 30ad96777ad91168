"""A poll's invites for programs: made in batches, fetched as a CSV file of links, revoked."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from polls.audit_log import client_actor
from polls.errors import IllegalState, InviteBatchNotFound, PollNotFound
from polls.http.client_address import public_url
from polls.models import InviteBatch, Poll, canonical_code
from polls.text.csv_download import csv_download
from polls.voters import invites

from .endpoints import Endpoint
from .permissions import ApiKey, PollScope, PollWriteScope
from .schema import BODY, CODE, KEY, NEGOTIATED, RETRY_AFTER, refusals, response_header
from .serializers import InviteBatchDocument, InviteBatches, NewInviteBatch

BATCH = OpenApiParameter("batch", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)
READ = refusals(*NEGOTIATED, *KEY, "malformed", "poll_not_found")
ONE = refusals(*NEGOTIATED, *KEY, "malformed", "poll_not_found", "invite_batch_not_found")


class Invites(Endpoint):
    authentication_classes = [ApiKey]
    permission_classes = [PollScope]

    @extend_schema(
        operation_id="invites_list",
        tags=["invites"],
        summary="A poll's batches of invites",
        description="Newest first. No invite is in here: those are in each batch's file.",
        parameters=[CODE, RETRY_AFTER],
        responses={200: InviteBatches} | READ,
    )
    def get(self, request: Request, code: str) -> Response:
        found = invites.batches(_poll(code).pk)
        return Response(InviteBatches({"batches": found}, context={"request": request}).data)

    @extend_schema(
        operation_id="invites_make",
        tags=["invites"],
        summary="Make a batch of invites",
        description="For a poll whose `identity` is `invite`. Sent twice, it makes two batches; revoke one.",
        parameters=[CODE, response_header("Location", [201], "The file with the links."), RETRY_AFTER],
        request=NewInviteBatch,
        responses={201: InviteBatchDocument}
        | refusals(*NEGOTIATED, *KEY, *BODY, "poll_not_found", "illegal_state"),
    )
    def post(self, request: Request, code: str) -> Response:
        poll = _poll(code)
        fields = self.checked(NewInviteBatch(), request)
        made = invites.make_batch(poll.pk, by=client_actor(request.auth), **fields)
        document = _document(request, _batch(poll, made.pk))
        return Response(document, status=201, headers={"Location": document["links"]})


class AnyAccept(BaseContentNegotiation):
    """A file isn't refused over its Accept header; what is refused is a problem document all the same."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class InviteLinks(Endpoint):
    """Whoever can read it can vote with each invite in it: so it takes the scope that may change the poll."""

    authentication_classes = [ApiKey]
    permission_classes = [PollWriteScope]
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="invites_links",
        tags=["invites"],
        summary="The links of a batch, as CSV",
        description=(
            "A header and a line per invite: serial number and link. It is made anew each time, with the same"
            " links. That it was fetched is recorded."
        ),
        parameters=[CODE, BATCH, RETRY_AFTER],
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="The file.")}
        | ONE
        | refusals("illegal_state"),
    )
    def get(self, request: Request, code: str, batch: int) -> Any:
        found = _batch(_poll(code), batch)
        if found.ended:
            raise IllegalState(str(invites.BATCH_ENDED))
        invites.record_download(found, by=client_actor(request.auth))
        site = public_url(request).rstrip("/")
        return csv_download(request._request, invites.csv_chunks(found, site), invites.file_name(found))


class InviteRevocation(Endpoint):
    authentication_classes = [ApiKey]
    permission_classes = [PollScope]

    @extend_schema(
        operation_id="invites_revoke",
        tags=["invites"],
        summary="Revoke a batch of invites",
        description=(
            "Nobody gets in with one of them any more; who got in before can cast for up to an hour. Ballots"
            " that are in stay in. It can't be undone, and may be said twice."
        ),
        parameters=[CODE, BATCH, RETRY_AFTER],
        request=None,
        responses={200: InviteBatchDocument} | ONE,
    )
    def post(self, request: Request, code: str, batch: int) -> HttpResponse:
        poll = _poll(code)
        invites.revoke_batch(_batch(poll, batch).pk, by=client_actor(request.auth))
        return Response(_document(request, _batch(poll, batch)))


def _poll(code: str) -> Poll:
    poll = Poll.objects.filter(code=canonical_code(code)).first()
    if poll is None:
        raise PollNotFound()
    return poll


def _batch(poll: Poll, batch_id: int) -> Any:
    # No database holds a larger id.
    found = invites.batches(poll.pk).filter(pk=batch_id).first() if batch_id < 2**63 else None
    if found is None:
        raise InviteBatchNotFound()
    return found


def _document(request: Request, batch: InviteBatch) -> dict[str, Any]:
    return dict(InviteBatchDocument(batch, context={"request": request}).data)
