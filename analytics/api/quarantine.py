"""Endpoints for quarantining ballots and releasing them."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.models import Quarantine
from analytics.quarantine import decisions
from analytics.quarantine.moves import QuarantineOutcome
from polls.api.endpoints import Endpoint, find_poll
from polls.api.fields import Flag, Moment, StrictSerializer, Text
from polls.api.permissions import ApiKey, PollScope
from polls.api.schema import BODY, CODE, KEY, NEGOTIATED, RETRY_AFTER, refusals
from polls.audit_log import client_actor
from polls.errors import Malformed, PersonRequired, QuarantineNotFound

Step = Callable[[int, str], Quarantine]
#: A receipt has 72 characters, and a body at most 256 KiB.
RECEIPTS_AT_MOST = 3000
_COMMON = (*NEGOTIATED, *KEY, "malformed", "poll_not_found")


class NewQuarantine(StrictSerializer):
    """A request to quarantine every new ballot. Only a person can quarantine by receipts, in the admin."""

    reason = Text(
        max_length=2000,
        lines=True,
        help_text="The reason, which is stored with the ballots and in the audit log.",
    )
    receipts = serializers.ListField(
        child=Text(max_length=200),
        required=False,
        min_length=1,
        max_length=RECEIPTS_AT_MOST,
        help_text="Refused with `person_required`: quarantining by receipt is done in the admin.",
    )
    from_now_on = Flag(
        required=False, help_text="Quarantine every ballot accepted from now on, until this is ended."
    )


class QuarantineDocument(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    round = serializers.IntegerField()
    rule = serializers.ChoiceField(Quarantine.Rule.choices)
    reason = serializers.CharField()
    decided_by = serializers.CharField()
    decided_at = Moment()
    standing = serializers.SerializerMethodField(help_text="Whether it still quarantines new ballots.")
    released_by = serializers.CharField()
    released_at = Moment(allow_null=True)

    def get_standing(self, decision: Quarantine) -> bool:
        return decision.since is not None and decision.until is None and decision.released_at is None


class SetAsideDocument(serializers.Serializer[Any]):
    """The counts of ballots that were quarantined at once; all 0 for `from_now_on`."""

    quarantine = QuarantineDocument(source="decision", allow_null=True)
    ballots = serializers.IntegerField(help_text="Quarantined now.")
    already = serializers.IntegerField(help_text="Already in quarantine.")
    not_counted = serializers.IntegerField(help_text="Not counted yet, or dead letters: try again later.")
    unknown = serializers.IntegerField(help_text="Not receipts of this round.")


class _Quarantine(Endpoint):
    authentication_classes = [ApiKey]
    permission_classes = [PollScope]


class Quarantines(_Quarantine):
    @extend_schema(
        operation_id="quarantines_list",
        tags=["quarantine"],
        summary="Decisions by which ballots were quarantined",
        description="In all rounds, newest first, at most 200. The tally says how many ballots they hold.",
        parameters=[CODE, RETRY_AFTER],
        responses={200: QuarantineDocument(many=True)} | refusals(*_COMMON),
    )
    def get(self, request: Request, code: str) -> Response:
        decisions = Quarantine.objects.filter(poll_id=find_poll(code).pk)[:200]
        return Response(QuarantineDocument(decisions, many=True).data)

    @extend_schema(
        operation_id="quarantine",
        tags=["quarantine"],
        summary="Quarantine ballots",
        description=(
            "Quarantined ballots are counted in a second tally until they are released. `from_now_on`"
            " quarantines every ballot that an open poll accepts until the quarantine is ended or released."
            " Only a person can quarantine ballots by `receipts`, in the admin."
        ),
        parameters=[CODE, RETRY_AFTER],
        request=NewQuarantine,
        responses={201: SetAsideDocument}
        | refusals(*NEGOTIATED, *KEY, *BODY, "person_required", "poll_not_found", "illegal_state"),
    )
    def post(self, request: Request, code: str) -> Response:
        poll, fields = find_poll(code), self.checked(NewQuarantine(), request)
        if fields.get("from_now_on", False) == ("receipts" in fields):
            raise Malformed("Set from_now_on. Only a person can quarantine by receipts, in the admin.")
        if "receipts" in fields:
            raise PersonRequired("Only a person can quarantine by receipts, in the admin.")
        decision = decisions.quarantine_new_ballots(poll, fields["reason"], client_actor(request.auth))
        return Response(SetAsideDocument(QuarantineOutcome(decision)).data, status=201)


class _Step(_Quarantine):
    def take(self, step: Step, request: Request, code: str, decision: int) -> Response:
        if not Quarantine.objects.filter(poll_id=find_poll(code).pk, pk=decision).exists():
            raise QuarantineNotFound()
        return Response(QuarantineDocument(step(decision, client_actor(request.auth))).data)


def _step(name: str, summary: str, description: str, *codes: str) -> Any:
    return extend_schema(
        operation_id=f"quarantine_{name}",
        tags=["quarantine"],
        summary=summary,
        description=description,
        parameters=[CODE, RETRY_AFTER],
        request=None,
        responses={200: QuarantineDocument} | refusals(*_COMMON, "quarantine_not_found", *codes),
    )


class QuarantineEnd(_Step):
    @_step("end", "Stop quarantining new ballots", "Quarantined ballots stay in quarantine.", "illegal_state")
    def post(self, request: Request, code: str, decision: int) -> Response:
        return self.take(decisions.end, request, code, decision)


class QuarantineRelease(_Step):
    @_step(
        "release",
        "Release its ballots",
        "The ballots count again. If there are many, some follow within seconds. Once voting is over, fewer"
        " than ten (or than a step of the tally) can't be released: the result would reveal their marks.",
        "too_few_ballots",
    )
    def post(self, request: Request, code: str, decision: int) -> Response:
        return self.take(decisions.release, request, code, decision)
