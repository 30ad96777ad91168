"""Endpoints for a poll's invites: make a batch, fetch its links as CSV, revoke it."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from polls.audit_log import client_actor
from polls.errors import IllegalState, InviteBatchNotFound
from polls.http.client_address import public_url
from polls.models import InviteBatch, Poll
from polls.text.csv_download import csv_download
from polls.voters import invites

from .endpoints import AnyAccept, Endpoint, find_poll
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
        description="Newest first. The invites themselves are in each batch's file.",
        parameters=[CODE, RETRY_AFTER],
        responses={200: InviteBatches} | READ,
    )
    def get(self, request: Request, code: str) -> Response:
        found = invites.batches(find_poll(code).pk)
        return Response(InviteBatches({"batches": found}, context={"request": request}).data)

    @extend_schema(
        operation_id="invites_make",
        tags=["invites"],
        summary="Make a batch of invites",
        description="For a poll whose `identity` is `invite`. Sending it twice makes two batches.",
        parameters=[CODE, response_header("Location", [201], "The file with the links."), RETRY_AFTER],
        request=NewInviteBatch,
        responses={201: InviteBatchDocument}
        | refusals(*NEGOTIATED, *KEY, *BODY, "poll_not_found", "illegal_state"),
    )
    def post(self, request: Request, code: str) -> Response:
        poll = find_poll(code)
        fields = self.checked(NewInviteBatch(), request)
        made = invites.make_batch(poll.pk, by=client_actor(request.auth), **fields)
        document = _document(request, _batch(poll, made.pk))
        return Response(document, status=201, headers={"Location": document["links"]})


class InviteLinks(Endpoint):
    """The links of a batch. Anybody who has a link can vote with it, so this needs the scope for writing."""

    authentication_classes = [ApiKey]
    permission_classes = [PollWriteScope]
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="invites_links",
        tags=["invites"],
        summary="The links of a batch, as CSV",
        description=(
            "A header and a line per invite: serial number and link. The links are the same each time. Each"
            " download is recorded in the audit log."
        ),
        parameters=[CODE, BATCH, RETRY_AFTER],
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="The file.")}
        | ONE
        | refusals("illegal_state"),
    )
    def get(self, request: Request, code: str, batch: int) -> Any:
        found = _batch(find_poll(code), batch)
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
            "These invites are no longer accepted. Voters who were let in before can cast for up to an hour,"
            " and their ballots stay counted. Revoking can't be undone; revoking twice is harmless."
        ),
        parameters=[CODE, BATCH, RETRY_AFTER],
        request=None,
        responses={200: InviteBatchDocument} | ONE,
    )
    def post(self, request: Request, code: str, batch: int) -> HttpResponse:
        poll = find_poll(code)
        invites.revoke_batch(_batch(poll, batch).pk, by=client_actor(request.auth))
        return Response(_document(request, _batch(poll, batch)))


def _batch(poll: Poll, batch_id: int) -> Any:
    # A number too large for a database id would cause a server error.
    found = invites.batches(poll.pk).filter(pk=batch_id).first() if batch_id < 2**63 else None
    if found is None:
        raise InviteBatchNotFound()
    return found


def _document(request: Request, batch: InviteBatch) -> dict[str, Any]:
    return dict(InviteBatchDocument(batch, context={"request": request}).data)
