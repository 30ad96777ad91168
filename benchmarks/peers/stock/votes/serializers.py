from rest_framework import serializers

from votes.models import Choice, Poll, Vote


class ChoiceSerializer(serializers.ModelSerializer):
    class Meta:
        model = Choice
        fields = ("id", "label")


class PollSerializer(serializers.ModelSerializer):
    choices = ChoiceSerializer(many=True, read_only=True)

    class Meta:
        model = Poll
        fields = ("id", "question", "choices")


class VoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Vote
        fields = ("id", "choice", "created_at")
        read_only_fields = ("created_at",)

    def validate_choice(self, choice):
        if choice.poll_id != self.context["view"].kwargs["pk"]:
            raise serializers.ValidationError("This choice belongs to another poll.")
        return choice
