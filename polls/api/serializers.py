"""Serializers of requests and responses."""

from typing import Any

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from polls.drafts import MAX_CHOICES
from polls.http.client_address import public_url
from polls.methods import METHODS, method_choices
from polls.models import Identity, OverLimit, Poll, ProofOfWork, State, Visibility
from polls.voters import eligibility
from polls.voters.invites import MAX_COUNT
from polls.voters.networks import MAX_NETWORKS

from .fields import Flag, Moment, Networks, Pick, StrictSerializer, Text, Whole
from .method_fields import ConfigField, Marks
from .reference import codes

# --- polls ---


class PollFields(StrictSerializer):
    """The fields of a draft. In a change, fields that are left out stay as they are."""

    question = Text(max_length=300)
    method = Pick(choices=method_choices(), required=False, help_text="Default: single.")
    choices = serializers.ListField(
        child=Text(max_length=200),
        min_length=min(method.min_choices for method in METHODS.values()),
        max_length=MAX_CHOICES,
        help_text="The labels, in the order in which voters see them. A number that voters have seen stays"
        " with its label.",
    )
    min_selections = Whole(min_value=1, max_value=99, required=False)
    max_selections = Whole(
        min_value=1,
        max_value=99,
        required=False,
        help_text="Default: 1 for single choice, the number of choices for multiple choice.",
    )
    config = ConfigField(
        required=False,
        help_text="What the method lets you set besides: see its page in the docs. Default: the method's."
        " It is replaced as a whole.",
    )
    revote = Flag(required=False, help_text="Whether voters may replace their ballot. Default: false.")
    results_visible = Pick(
        choices=Visibility.choices,
        required=False,
        help_text="Who sees the tally, and when. Default: always. Can be changed at any time.",
    )
    identity = Pick(choices=Identity.choices, required=False, help_text="Who may vote. Default: browser.")
    venue_networks = Networks(
        required=False,
        max_length=MAX_NETWORKS,
        help_text="Where many voters share an address, such as 198.51.100.0/24. Can be changed at any time.",
    )
    over_limit = Pick(
        choices=OverLimit.choices,
        required=False,
        help_text="What happens to ballots over the rate limit. Default: refuse. Can be changed at any time.",
    )
    proof_of_work = Pick(
        choices=ProofOfWork.choices,
        required=False,
        help_text="When a ballot needs a proof of work. Default: auto. Can be changed at any time.",
    )
    release_step = Whole(
        min_value=1,
        max_value=1000,
        required=False,
        help_text="While the poll is open, its tally changes in steps of this many ballots. Default: 1.",
    )
    opens_at = Moment(
        required=False, allow_null=True, help_text="When it opens by itself; null: it is opened by hand."
    )
    closes_at = Moment(
        required=False, allow_null=True, help_text="When it closes by itself; null: it is closed by hand."
    )
    expected_turnout = Whole(
        min_value=1,
        max_value=1_000_000_000,
        required=False,
        allow_null=True,
        help_text="Roughly how many voters you expect; null: unknown. The poll accepts more.",
    )


@extend_schema_field({"type": "string", "pattern": "^[A-Z0-9]{3,16}$"})
class Code(serializers.RegexField):
    def __init__(self, **options: Any) -> None:
        super().__init__(r"\A[A-Z0-9]{3,16}\Z", **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class NewPoll(PollFields):
    """Question and choices are required. All other fields have defaults."""

    code = Code(required=False, help_text="What people type to join. Default: a random code.")


class PollChoice(serializers.Serializer[Any]):
    number = serializers.IntegerField(min_value=1, max_value=99)
    label = serializers.CharField()  # type: ignore[assignment]


class Links(serializers.Serializer[Any]):
    self = serializers.URLField()
    vote = serializers.URLField(help_text="The page to vote on.")
    tally = serializers.URLField()


class PollDocument(serializers.Serializer[Any]):
    """A poll without its tally. The tally has its own address and its own visibility."""

    code = serializers.CharField()
    question = serializers.CharField()
    method = serializers.ChoiceField(method_choices())
    choices = PollChoice(many=True)
    min_selections = serializers.IntegerField()
    max_selections = serializers.IntegerField()
    config = ConfigField(required=False, help_text="Only if the method has one.")
    revote = serializers.BooleanField()
    results_visible = serializers.ChoiceField(Visibility.choices)
    identity = serializers.ChoiceField(Identity.choices)
    venue_networks = serializers.ListField(child=serializers.CharField())
    over_limit = serializers.ChoiceField(OverLimit.choices)
    proof_of_work = serializers.ChoiceField(ProofOfWork.choices)
    release_step = serializers.IntegerField()
    opens_at = Moment(allow_null=True)
    closes_at = Moment(allow_null=True)
    expected_turnout = serializers.IntegerField(allow_null=True)
    closed_at = Moment(
        allow_null=True, help_text="Until when ballots were accepted, by the vote log's clock."
    )
    published_at = Moment(allow_null=True)
    created_at = Moment()
    state = serializers.ChoiceField(State.choices)
    round = serializers.IntegerField(help_text="Grows with each reset.")
    links = serializers.SerializerMethodField()

    def to_representation(self, poll: Poll) -> dict[str, Any]:
        document: dict[str, Any] = super().to_representation(poll)
        if not poll.config:
            del document["config"]
        return document

    @extend_schema_field(Links)
    def get_links(self, poll: Poll) -> dict[str, str]:
        names = {"self": "poll", "vote": "polls:vote", "tally": "tally"}
        request = self.context["request"]
        return {key: public_url(request, reverse(name, args=[poll.code])) for key, name in names.items()}


# --- invites ---


class NewInviteBatch(StrictSerializer):
    count = Whole(min_value=1, max_value=MAX_COUNT)
    label = Text(max_length=100, required=False, allow_blank=True, help_text="For whom they are.")  # type: ignore[assignment]


class InviteBatchDocument(serializers.Serializer[Any]):
    batch = serializers.IntegerField(source="pk")
    label = serializers.CharField()  # type: ignore[assignment]
    count = serializers.IntegerField()
    made_at = Moment()
    made_by = serializers.CharField()
    revoked_at = Moment(allow_null=True)
    revoked_by = serializers.CharField()
    ended = serializers.BooleanField(help_text="Revoked, or the poll's voters were erased since.")
    links = serializers.SerializerMethodField(help_text="Where the file with the links is.")

    @extend_schema_field(serializers.URLField)
    def get_links(self, batch: Any) -> str:
        address = reverse("invite-links", args=[batch.poll.code, batch.pk])
        return public_url(self.context["request"], address)


class InviteBatches(serializers.Serializer[Any]):
    batches = InviteBatchDocument(many=True)


NEEDS = [Identity.LOGIN.value, Identity.INVITE.value, Identity.CLIENT.value]
INVITE_STATES = [eligibility.ACCEPTED, eligibility.INVALID, eligibility.REVOKED]
BALLOT_STATES = ["accepted", "counted", "replaced", "quarantined", "rejected"]

# --- ballots: only for the schema, since `polls.casting` parses and answers them ---


class NewBallot(Marks, StrictSerializer):
    """A voter's complete ballot, with the field for marks of the poll's method."""

    ballot_id = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="Chosen by you. A retry with the same id gets the same receipt.",
    )
    round = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=65_535,
        help_text="The round that the voter was shown. If it is over: `round_changed`.",
    )
    replaces = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="The ballot_id of the voter's current ballot, where the poll allows a revote.",
    )
    voter = serializers.CharField(
        required=False,
        allow_null=True,
        min_length=1,
        max_length=200,
        help_text="Your own id for the voter; only with an API key.",
    )
    proof = serializers.CharField(
        required=False,
        allow_null=True,
        max_length=1000,
        help_text="The solved challenge, if the poll answers `proof_required`. API clients need none.",
    )


@extend_schema_field({"type": "string", "const": "accepted"})
class AcceptedStatus(serializers.CharField):
    pass


class Accepted(serializers.Serializer[Any]):
    ballot_id = serializers.UUIDField()
    receipt = serializers.CharField(min_length=72, max_length=72)
    status = AcceptedStatus()


class Batch(StrictSerializer):
    """Ballots of many voters."""

    ballots = serializers.ListField(
        child=NewBallot(), max_length=settings.BATCH_MAX_BALLOTS, help_text="Each with its `voter`."
    )


class BatchOutcome(serializers.Serializer[Any]):
    """`status`, `ballot_id` and `receipt` of an accepted ballot; `code` and `detail` of a refused one."""

    index = serializers.IntegerField(min_value=0)
    status = AcceptedStatus(required=False)
    ballot_id = serializers.UUIDField(required=False)
    receipt = serializers.CharField(required=False)
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)


class BatchOutcomes(serializers.Serializer[Any]):
    outcomes = BatchOutcome(many=True, help_text="One per ballot, in the order sent.")


class ChallengeDocument(serializers.Serializer[Any]):
    algorithm = serializers.CharField(help_text="SHA-256")
    challenge = serializers.CharField(help_text="The hash of salt and number, in hexadecimal.")
    maxnumber = serializers.IntegerField(help_text="The number is at most this.")
    salt = serializers.CharField(help_text="Contains the time when the challenge expires.")
    signature = serializers.CharField()


class VoterDocument(serializers.Serializer[Any]):
    poll = serializers.CharField()
    round = serializers.IntegerField()
    state = serializers.ChoiceField(State.choices)
    identity = serializers.ChoiceField(Identity.choices, help_text="Who may vote.")
    eligible = serializers.BooleanField(help_text="Whether this visitor may vote.")
    needs = serializers.ChoiceField(NEEDS, allow_null=True, help_text="What is missing; null: nothing.")
    account = serializers.CharField(
        allow_null=True,
        help_text="The account that this browser is signed in with, if the poll asks for one.",
    )
    invite = serializers.ChoiceField(
        INVITE_STATES, allow_null=True, help_text="The state of the invite that was sent."
    )
    tag = serializers.CharField(
        allow_null=True, help_text="Distinguishes voters who share a device, where that can happen."
    )
    voted = serializers.BooleanField()
    ballot_id = serializers.UUIDField(allow_null=True)
    receipt = serializers.CharField(allow_null=True)
    revote = serializers.BooleanField()
    proof = ChallengeDocument(
        allow_null=True,
        help_text="The challenge to solve before casting, if the poll asks for a proof of work.",
    )


class ReceiptDocument(serializers.Serializer[Any]):
    status = serializers.ChoiceField(BALLOT_STATES)
    poll = serializers.CharField()
    round = serializers.IntegerField()


# --- problems ---


class Problem(serializers.Serializer[Any]):
    """RFC 9457 problem details. `code` is stable; the texts are for people, in the requested language."""

    type = serializers.CharField(help_text="Where the code is explained.")
    title = serializers.CharField()
    status = serializers.IntegerField(min_value=400, max_value=599)
    detail = serializers.CharField()
    code = serializers.ChoiceField(codes())
    errors = serializers.DictField(  # type: ignore[assignment]
        required=False, help_text="Messages by field, if fields are wrong."
    )
    reason = serializers.CharField(required=False, help_text="Why a selection is invalid.")
    challenge = serializers.CharField(required=False, help_text="Where to get a challenge to solve.")
    state = serializers.ChoiceField(
        State.choices, required=False, help_text="The poll's state, which doesn't allow the step."
    )
    needs = serializers.ChoiceField(NEEDS, required=False, help_text="What the voter lacks to be eligible.")
