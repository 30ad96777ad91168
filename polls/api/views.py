"""Endpoints for polls: list, create, read, change, delete, and the steps of the lifecycle."""

from typing import Any

from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from polls import drafts, lifecycle
from polls.audit_log import client_actor
from polls.models import Poll

from .endpoints import Endpoint, find_poll
from .listing import PollFilter, PollPages, check_parameters
from .permissions import ApiKey, PollScope
from .schema import BODY, CODE, KEY, NEGOTIATED, RETRY_AFTER, refusals, response_header
from .serializers import NewPoll, PollDocument, PollFields

SEARCH = OpenApiParameter(
    "search",
    {"type": "string", "maxLength": 100},
    description="Part of the question or of the code; case and accents don't matter.",
)
READ = refusals(*NEGOTIATED, *KEY, "malformed")
ONE = refusals(*NEGOTIATED, *KEY, "malformed", "poll_not_found")
STEP = refusals(*NEGOTIATED, *KEY, "malformed", "poll_not_found", "illegal_state")


def _step(name: str, summary: str, description: str) -> Any:
    return extend_schema(
        operation_id=f"poll_{name}",
        summary=summary,
        description=description,
        parameters=[CODE, RETRY_AFTER],
        request=None,
        responses={200: PollDocument} | STEP,
    )


@extend_schema(tags=["polls"])
@extend_schema_view(
    list=extend_schema(
        operation_id="polls_list",
        summary="Polls, newest first",
        description="Pages of 50, or `page_size`; follow `next` until it is null.",
        parameters=[SEARCH, RETRY_AFTER],
        responses={200: PollDocument(many=True)} | READ,
    ),
    create=extend_schema(
        operation_id="poll_create",
        summary="Create a draft",
        description="Only question and choices are needed.",
        parameters=[response_header("Location", [201], "The poll's address."), RETRY_AFTER],
        request=NewPoll,
        responses={201: PollDocument} | refusals(*NEGOTIATED, *KEY, *BODY, "code_taken"),
    ),
    retrieve=extend_schema(
        operation_id="poll_read",
        summary="A poll",
        description="Without its tally, which has its own address.",
        parameters=[CODE, RETRY_AFTER],
        responses={200: PollDocument} | ONE,
    ),
    partial_update=extend_schema(
        operation_id="poll_change",
        summary="Change a draft",
        description=(
            "Fields that are left out stay as they are. `choices` replaces all labels. The code can't be"
            " changed. Once a poll has been opened, only `results_visible`, `venue_networks`, `over_limit`"
            " and `proof_of_work` can be changed."
        ),
        parameters=[CODE, RETRY_AFTER],
        request=PollFields,
        responses={200: PollDocument} | refusals(*NEGOTIATED, *KEY, *BODY, "poll_not_found", "illegal_state"),
    ),
    destroy=extend_schema(
        operation_id="poll_delete",
        summary="Delete a draft",
        description="Only a poll that was never opened: ballots are evidence and stay.",
        parameters=[CODE, RETRY_AFTER],
        responses={204: None} | STEP,
    ),
)
class Polls(Endpoint, GenericViewSet[Poll]):
    authentication_classes = [ApiKey]
    permission_classes = [PollScope]
    serializer_class = PollDocument
    queryset = Poll.objects.prefetch_related("choices")
    lookup_field = "code"
    filter_backends = [DjangoFilterBackend]
    filterset_class = PollFilter
    pagination_class = PollPages

    def list(self, request: Request) -> Response:
        check_parameters(request)
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def create(self, request: Request) -> Response:
        fields = self.checked(NewPoll(), request)
        poll = drafts.create_poll(fields.pop("choices"), client_actor(request.auth), **fields)
        document = self._document(poll)
        return Response(document, status=201, headers={"Location": document["links"]["self"]})

    def retrieve(self, request: Request, code: str) -> Response:
        return Response(self._document(self._poll(code)))

    def partial_update(self, request: Request, code: str) -> Response:
        poll = self._poll(code)
        fields = self.checked(PollFields(partial=True), request)
        poll = drafts.change_poll(poll.pk, by=client_actor(request.auth), **fields)
        return Response(self._document(poll))

    def destroy(self, request: Request, code: str) -> Response:
        drafts.delete_poll(self._poll(code).pk, client_actor(request.auth))
        return Response(status=204)

    @_step("open", "Open voting", "From now on, question, choices and rules can't be changed.")
    def open(self, request: Request, code: str) -> Response:
        return self._take(lifecycle.open_poll, request, code)

    @_step(
        "close",
        "Close voting",
        "The state becomes `closing`, and `closed` once every accepted ballot has been counted.",
    )
    def close(self, request: Request, code: str) -> Response:
        return self._take(lifecycle.close_poll, request, code)

    @_step("publish", "Make the result official", "Waits up to 5 s while the poll is `closing`.")
    def publish(self, request: Request, code: str) -> Response:
        return self._take(lifecycle.publish_poll, request, code)

    @_step(
        "reset", "Start a new round, as a draft", "The ballots of the old round stay counted in that round."
    )
    def reset(self, request: Request, code: str) -> Response:
        return self._take(lifecycle.reset_poll, request, code)

    def _take(self, step: Any, request: Request, code: str) -> Response:
        return Response(self._document(step(self._poll(code).pk, client_actor(request.auth))))

    def _poll(self, code: str) -> Poll:
        return find_poll(code, self.get_queryset())

    def _document(self, poll: Poll) -> dict[str, Any]:
        return dict(self.get_serializer(poll).data)
