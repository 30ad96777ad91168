"""Endpoints for the tally, and for health checks and metrics."""

import json
import logging
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from rest_framework import serializers
from rest_framework.request import Request

from analytics.health import readiness
from analytics.health.metrics import render_with_timeout
from analytics.results import tallies
from analytics.results.documents import document
from analytics.results.has_voted import has_voted
from analytics.results.visibility import Viewer, may_see
from polls import timings, two_factor
from polls.api.endpoints import Endpoint
from polls.api.method_fields import ConfigField, Figures
from polls.api.schema import ANYBODY, CODE, NEGOTIATED, RETRY_AFTER, refusals, response_header
from polls.errors import InvalidKey
from polls.methods import method_choices
from polls.models import ApiClient, Identity, State, Visibility, canonical_code
from polls.votelog import STORE_ERRORS
from polls.voters.identity import authenticate_client

logger = logging.getLogger(__name__)

PUBLIC = "public, max-age=1, stale-while-revalidate=10"
PRIVATE = "private, no-store"


class ChoiceTally(Figures):
    """A choice, and the figures that the poll's method has for it."""

    of_choices = True

    number = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]


class QuarantinedChoice(Figures):
    """A choice in the second tally."""

    of_choices = True

    number = serializers.IntegerField()


class QuarantinedTally(Figures):
    """The second tally. It counts the ballots in quarantine, which the first tally leaves out.

    It has only counts, and no figures that are derived from them.
    """

    ballots = serializers.IntegerField()
    choices = QuarantinedChoice(many=True, required=False)
    winners_if_released = serializers.ListField(
        child=serializers.IntegerField(),
        required=False,
        help_text="The winners if these ballots were released. Given only once the poll is closed.",
    )
    reasons = serializers.IntegerField(help_text="The number of decisions that quarantined them.")
    withheld = serializers.BooleanField(
        required=False,
        help_text="True if all figures but `ballots` are left out, since they would reveal how a few voted.",
    )


class Tally(Figures):
    """If `visible` is false, no field depends on a vote. The figures depend on the method."""

    poll = serializers.CharField()
    round = serializers.IntegerField()
    epoch = serializers.IntegerField(help_text="Increases with each reset or recount.")
    revision = serializers.IntegerField(help_text="Increases with each step of the poll's lifecycle.")
    version = serializers.IntegerField(required=False, help_text="Increases with every change of the tally.")
    state = serializers.ChoiceField(State.choices)
    method = serializers.ChoiceField(method_choices())
    question = serializers.CharField(allow_blank=True)
    min_selections = serializers.IntegerField()
    max_selections = serializers.IntegerField()
    config = ConfigField(required=False, help_text="Only if the method has one.")
    revote = serializers.BooleanField()
    results_visible = serializers.ChoiceField(Visibility.choices)
    release_step = serializers.IntegerField(
        help_text="While the poll is open, figures change by at least this many ballots at a time."
    )
    identity = serializers.ChoiceField(Identity.choices, help_text="Who may vote.")
    opens_at = serializers.DateTimeField(allow_null=True)
    closes_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    visible = serializers.BooleanField()
    ballots = serializers.IntegerField(required=False)
    choices = ChoiceTally(many=True)
    winners = serializers.ListField(child=serializers.IntegerField(), required=False)
    quarantined = QuarantinedTally(required=False, help_text="Only if ballots are in quarantine.")


class TallyView(Endpoint):
    authentication_classes: list[Any] = []

    @extend_schema(
        operation_id="tally",
        tags=["tally"],
        summary="The tally as it stands",
        description=(
            "Responses may overtake each other: ignore one whose (epoch, revision, version) is lower than"
            " what you have. `visible` is false if the client may not see the tally, and gets no figures."
        ),
        auth=ANYBODY,
        parameters=[
            CODE,
            OpenApiParameter(
                "If-None-Match",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description="The ETag of your last response.",
            ),
            response_header("ETag", [200, 304], "Changes whenever the content changes."),
            RETRY_AFTER,
        ],
        responses={200: Tally, 304: OpenApiResponse(description="Nothing has changed since that ETag.")}
        | refusals(*NEGOTIATED, "malformed", "poll_not_found"),
    )
    def get(self, request: Request, code: str) -> HttpResponse:
        snap = tallies.snapshot_of(canonical_code(code))
        visibility = snap.poll.results_visible
        viewer = viewer_of(request, visibility, code)
        visible = may_see(snap.poll.state, visibility, viewer)
        epoch, revision, version = snap.stamp
        etag = f'"{epoch}-{revision}-{version}"' if visible else f'"{epoch}-{revision}"'
        headers = {
            "ETag": etag,
            "Cache-Control": PUBLIC if visibility == Visibility.ALWAYS else PRIVATE,
            "Access-Control-Allow-Origin": "*",
        }
        if visibility != Visibility.ALWAYS:
            headers["Vary"] = "Cookie"
            del headers["Access-Control-Allow-Origin"]
        if known(etag, request.headers.get("If-None-Match", "")):
            return HttpResponse(status=304, headers=headers)
        body = msgspec.json.encode(document(snap, visible=visible))
        return HttpResponse(body, content_type="application/json", headers=headers)


def known(etag: str, if_none_match: str) -> bool:
    """Return whether the client has the content of this ETag, in any encoding (RFC 9110, 13.1.2)."""
    return etag in (each.removeprefix("W/") for each in parse_etags(if_none_match))


def viewer_of(request: Request, results_visible: str, code: str) -> Viewer:
    """Return the kind of viewer. Look up only the facts that the poll's visibility setting needs."""
    if results_visible == Visibility.ALWAYS:
        return Viewer.PUBLIC
    if _is_staff(request._request):
        return Viewer.STAFF
    if results_visible == Visibility.AFTER_VOTE and has_voted(code, request.COOKIES):
        return Viewer.VOTED
    return Viewer.PUBLIC


def _is_staff(request: HttpRequest) -> bool:
    """Return whether verified staff are logged in. Read the session, since DRF replaces `request.user`."""
    session = getattr(request, "session", None)
    if session is None or settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return False
    user = get_user(request)
    return two_factor.is_verified_staff(user, two_factor.verified_device(user, session))


def healthz(request: Any) -> HttpResponse:
    """Liveness. It queries no store, since a dead database must not restart a healthy process."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: Any) -> HttpResponse:
    """Readiness: 503 if this process accepts no ballots. Degraded modes alone don't make it 503."""
    found = readiness.check_readiness()
    ready = found.ready
    return HttpResponse(
        json.dumps({"ready": ready, **found.parts, "modes": found.modes}) + "\n",
        status=200 if ready else 503,
        content_type="application/json",
        headers={"Cache-Control": "no-store"} | ({} if ready else {"Retry-After": "5"}),
    )


def metrics(request: HttpRequest) -> HttpResponse:
    """Metrics for Prometheus: gauges for everybody, histograms for a key with the scope `metrics:read`.

    Histograms tell when ballots arrive, also in a poll whose tally is hidden.
    """
    try:
        client = authenticate_client(request.headers.get("Authorization"))
        text = render_with_timeout()
        if client is not None and client.allows(ApiClient.Scope.METRICS_READ):
            text += timings.render()
        return HttpResponse(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)
    except InvalidKey as error:
        return HttpResponse(f"{error.detail}\n", status=error.status, content_type="text/plain")
    except (*STORE_ERRORS, TimeoutError):
        logger.warning("no_metrics", exc_info=True)
        return HttpResponse("A store doesn't answer.\n", status=503, content_type="text/plain")
