"""Setting ballots aside and releasing them, for API clients that may run polls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from polls.api.endpoints import Endpoint
from polls.api.fields import Flag, Moment, StrictSerializer, Text
from polls.api.permissions import ApiKey, PollScope
from polls.api.schema import BODY, CODE, KEY, NEGOTIATED, RETRY_AFTER, refusals
from polls.errors import Malformed, PollNotFound, QuarantineNotFound
from polls.models import Poll, canonical_code
from polls.records import client_actor

from . import quarantine
from .models import Quarantine

Step = Callable[[int, str], Quarantine]
#: Each is of 72 characters, and a body is of 256 KiB at most.
RECEIPTS_AT_MOST = 3000
_COMMON = (*NEGOTIATED, *KEY, "malformed", "poll_not_found")


class NewQuarantine(StrictSerializer):
    """Either receipts, or everything from now on."""

    reason = Text(max_length=2000, help_text="Why; it stays with the ballots and is recorded.")
    receipts = serializers.ListField(
        child=Text(max_length=200), required=False, min_length=1, max_length=RECEIPTS_AT_MOST
    )
    from_now_on = Flag(
        required=False, help_text="Set aside every ballot accepted from now on, until it is ended."
    )


class QuarantineDocument(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    round = serializers.IntegerField()
    rule = serializers.ChoiceField(Quarantine.Rule.choices)
    reason = serializers.CharField()
    decided_by = serializers.CharField()
    decided_at = Moment()
    standing = serializers.SerializerMethodField(help_text="Whether it takes in further ballots.")
    released_by = serializers.CharField()
    released_at = Moment(allow_null=True)

    def get_standing(self, decision: Quarantine) -> bool:
        return decision.since is not None and decision.until is None and decision.released_at is None


class SetAsideDocument(serializers.Serializer[Any]):
    """Without any ballot set aside there is no decision, and `quarantine` is null."""

    quarantine = QuarantineDocument(source="decision", allow_null=True)
    ballots = serializers.IntegerField(help_text="Set aside now.")
    already = serializers.IntegerField(help_text="Set aside before.")
    not_counted = serializers.IntegerField(help_text="Still to be counted, or dead letters: try again.")
    unknown = serializers.IntegerField(help_text="No receipts of this round.")


class _Quarantine(Endpoint):
    authentication_classes = [ApiKey]
    permission_classes = [PollScope]

    def poll(self, code: str) -> Poll:
        poll = Poll.objects.filter(code=canonical_code(code)).first()
        if poll is None:
            raise PollNotFound()
        return poll


class Quarantines(_Quarantine):
    @extend_schema(
        operation_id="quarantines_list",
        tags=["quarantine"],
        summary="By which decisions ballots were set aside",
        description="Of all rounds, newest first, 200 at most. How many they are, the tally says.",
        parameters=[CODE, RETRY_AFTER],
        responses={200: QuarantineDocument(many=True)} | refusals(*_COMMON),
    )
    def get(self, request: Request, code: str) -> Response:
        decisions = Quarantine.objects.filter(poll_id=self.poll(code).pk)[:200]
        return Response(QuarantineDocument(decisions, many=True).data)

    @extend_schema(
        operation_id="quarantine",
        tags=["quarantine"],
        summary="Set ballots aside",
        description=(
            "They keep their place and are counted in a second tally, until they are released. With"
            " `receipts`: the ballots of these voters, in the current round. With `from_now_on`: whatever an"
            " open poll accepts until the quarantine is ended or released."
        ),
        parameters=[CODE, RETRY_AFTER],
        request=NewQuarantine,
        responses={201: SetAsideDocument, 200: SetAsideDocument}
        | refusals(*NEGOTIATED, *KEY, *BODY, "poll_not_found", "illegal_state"),
    )
    def post(self, request: Request, code: str) -> Response:
        poll, fields = self.poll(code), self.checked(NewQuarantine(), request)
        by, standing = client_actor(request.auth), fields.get("from_now_on", False)
        if standing == ("receipts" in fields):
            raise Malformed("Give either receipts or from_now_on.")
        if standing:
            done = quarantine.SetAside(quarantine.stand(poll, fields["reason"], by))
        else:
            done = quarantine.by_receipts(poll, fields["receipts"], fields["reason"], by)
        return Response(SetAsideDocument(done).data, status=201 if done.decision else 200)


class _Step(_Quarantine):
    def take(self, step: Step, request: Request, code: str, decision: int) -> Response:
        if not Quarantine.objects.filter(poll_id=self.poll(code).pk, pk=decision).exists():
            raise QuarantineNotFound()
        return Response(QuarantineDocument(step(decision, client_actor(request.auth))).data)


def _step(name: str, summary: str, description: str) -> Any:
    return extend_schema(
        operation_id=f"quarantine_{name}",
        tags=["quarantine"],
        summary=summary,
        description=description,
        parameters=[CODE, RETRY_AFTER],
        request=None,
        responses={200: QuarantineDocument} | refusals(*_COMMON, "quarantine_not_found", "illegal_state"),
    )


class QuarantineEnd(_Step):
    @_step("end", "Set no further ballots aside", "What was set aside stays so.")
    def post(self, request: Request, code: str, decision: int) -> Response:
        return self.take(quarantine.end, request, code, decision)


class QuarantineRelease(_Step):
    @_step("release", "Count its ballots again", "Of many, what isn't moved at once follows within seconds.")
    def post(self, request: Request, code: str, decision: int) -> Response:
        return self.take(quarantine.release, request, code, decision)
