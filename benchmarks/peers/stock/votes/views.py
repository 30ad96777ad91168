import uuid

from django.core.signing import BadSignature
from django.db import IntegrityError, transaction
from rest_framework import generics, status
from rest_framework.exceptions import APIException, NotAuthenticated
from rest_framework.response import Response

from votes.models import Poll, Vote
from votes.serializers import PollSerializer, VoteSerializer
from votes.tasks import recount


class AlreadyVoted(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "You have already voted."
    default_code = "already_voted"


class PollDetail(generics.RetrieveAPIView):
    queryset = Poll.objects.prefetch_related("choices")
    serializer_class = PollSerializer


class VoterDetail(generics.GenericAPIView):
    queryset = Poll.objects.all()

    def get(self, request, pk):
        poll = self.get_object()
        try:
            voter = request.get_signed_cookie("voter")
        except (KeyError, BadSignature):
            response = Response({"poll": poll.pk, "voted": False})
            response.set_signed_cookie("voter", str(uuid.uuid4()), httponly=True, samesite="Lax")
            return response
        voted = Vote.objects.filter(poll=poll, voter=voter).exists()
        return Response({"poll": poll.pk, "voted": voted})


class VoteCreate(generics.CreateAPIView):
    queryset = Vote.objects.all()
    serializer_class = VoteSerializer

    def perform_create(self, serializer):
        poll_id = self.kwargs["pk"]
        try:
            voter = self.request.get_signed_cookie("voter")
        except (KeyError, BadSignature):
            raise NotAuthenticated() from None
        try:
            with transaction.atomic():
                serializer.save(poll_id=poll_id, voter=voter)
        except IntegrityError:
            raise AlreadyVoted() from None
        recount.delay(poll_id)
