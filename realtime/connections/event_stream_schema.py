"""The Django view at the event stream's address: it refuses requests, and describes the stream's schema."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from polls.api.endpoints import Endpoint
from polls.api.schema import ANYBODY, CODE, NEGOTIATED, RETRY_AFTER, refusals
from polls.errors import NotAcceptable, PollNotFound, Unavailable
from polls.models import Poll, canonical_code


class EventStream(JSONRenderer):
    """Makes DRF accept requests for event streams. Refusals are rendered as JSON."""

    media_type = "text/event-stream"
    format = "events"
    charset = None


class StreamView(Endpoint):
    """Responds to the requests that EventStreamLane passes on. Streams themselves never reach Django."""

    authentication_classes: list[Any] = []
    renderer_classes = [EventStream, JSONRenderer]

    @extend_schema(
        operation_id="stream",
        tags=["tally"],
        summary="Follow the tally by server-sent events",
        description=(
            "Events `tally`, `state` and `viewers`; their data are the WebSocket's messages of these types."
            " The tally is sent at once, then on change, at most ten times a second. Some event is sent at"
            " least every 15 seconds. Whether the client may see the tally is checked when the stream begins,"
            " and again while it lasts."
        ),
        auth=ANYBODY,
        parameters=[CODE, RETRY_AFTER],
        responses={(200, "text/event-stream"): OpenApiResponse(OpenApiTypes.STR)}
        | refusals(*NEGOTIATED, "malformed", "poll_not_found"),
    )
    def get(self, request: Request, code: str) -> HttpResponse:
        if not Poll.objects.filter(code=canonical_code(code)).exists():
            raise PollNotFound()
        if not isinstance(request.accepted_renderer, EventStream):
            raise NotAcceptable()
        if request.method == "HEAD":
            return HttpResponse(content_type=f"{EventStream.media_type}; charset=utf-8")
        raise Unavailable()
