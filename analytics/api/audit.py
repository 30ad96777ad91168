"""Endpoints for downloading audit bundles and the public key that they are signed with."""

from collections.abc import AsyncIterator
from functools import partial
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.tally import viewer_of
from analytics.audit import bundles, signing
from analytics.models import AuditBundle
from analytics.results.visibility import Viewer, may_see
from polls import rounds
from polls.api.endpoints import Endpoint, find_poll
from polls.api.schema import ANYBODY, CODE, NEGOTIATED, RETRY_AFTER, refusals
from polls.errors import AuditNotFound, Malformed
from polls.lifecycle import MAX_ROUNDS
from polls.models import Poll, Visibility
from polls.text.integers import whole_number

_PIECE = 256 * 1024
_ROUND = {"type": "integer", "minimum": 1, "maximum": MAX_ROUNDS}


class Zip(JSONRenderer):
    """Makes DRF accept requests for zip files. Errors are rendered as JSON."""

    media_type = "application/zip"
    format = "zip"
    charset = None


class Download(StreamingHttpResponse):
    """A file of any size, streamed in pieces under WSGI and ASGI."""

    def __init__(self, file: IO[bytes], **options: Any) -> None:
        super().__init__(iter(partial(file.read, _PIECE), b""), **options)
        self._file = file
        self._resource_closers.append(file.close)  # type: ignore[attr-defined]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # The file is read in a thread of its own, so that a slow disk delays only this download.
        while piece := await sync_to_async(self._file.read, thread_sensitive=False)(_PIECE):
            yield piece


class AuditView(Endpoint):
    authentication_classes: list[Any] = []
    renderer_classes = [Zip, JSONRenderer]

    @extend_schema(
        operation_id="audit",
        tags=["audit"],
        summary="The audit bundle of a published poll",
        description=(
            "A signed zip of receipts, ballots without voters, and the tally. docs/audit.md says what it"
            " proves, and `verify.py` checks it. It is available a few seconds after publishing, to everyone"
            " who may see the result. Bundles of earlier rounds stay available if their results were public."
            " Staff can get all of them."
        ),
        auth=ANYBODY,
        parameters=[
            CODE,
            OpenApiParameter("round", _ROUND, description="This round or an earlier one."),
            RETRY_AFTER,
        ],
        responses={(200, "application/zip"): OpenApiResponse(OpenApiTypes.BINARY)}
        | refusals(*NEGOTIATED, "malformed", "poll_not_found", "audit_not_found"),
    )
    def get(self, request: Request, code: str) -> Any:
        poll = find_poll(code)
        bundle = _bundle_for(request, poll)
        if bundle is None:
            raise AuditNotFound()
        name = f"landslide-audit-{poll.code}-round{bundle.round}.zip"
        return Download(
            bundles.open_file(bundle),
            content_type="application/zip",
            headers={
                "Content-Length": str(bundle.size),
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "private, no-cache",
                "ETag": f'"{bundle.sha256}"',
            },
        )


def _bundle_for(request: Request, poll: Poll) -> AuditBundle | None:
    if (asked := request.query_params.get("round")) is not None:
        number = whole_number(asked)
        if number is None or not 0 < number <= MAX_ROUNDS:
            raise Malformed(f"round: a number from 1 to {MAX_ROUNDS}.")
        staff = viewer_of(request, Visibility.STAFF, poll.code) is Viewer.STAFF
        if staff or rounds.public(poll).filter(number=number).exists():
            return bundles.newest(poll.pk, number)
        if number != poll.round:
            return None
    viewer = viewer_of(request, poll.results_visible, poll.code)
    return bundles.current(poll) if may_see(poll.state, poll.results_visible, viewer) else None


class AuditKey(serializers.Serializer[Any]):
    scheme = serializers.CharField()
    public_key = serializers.CharField(help_text="32 octets in hexadecimal.")
    fingerprint = serializers.CharField(help_text="SHA-256 of these octets, in hexadecimal.")


class AuditKeyView(Endpoint):
    authentication_classes: list[Any] = []

    @extend_schema(
        operation_id="audit_key",
        tags=["audit"],
        summary="The key that audit bundles are signed with",
        description=(
            "The public key. Get the fingerprint from another source too: whoever can forge a bundle on this"
            " server can forge this answer."
        ),
        auth=ANYBODY,
        parameters=[RETRY_AFTER],
        responses={200: AuditKey} | refusals(*NEGOTIATED),
    )
    def get(self, request: Request) -> Response:
        key = {
            "scheme": signing.SCHEME,
            "public_key": signing.public_key().hex(),
            "fingerprint": signing.fingerprint(),
        }
        return Response(key)
