from django.urls import path

from . import ballots, challenges, invites, reference, voter
from .views import Polls

POLL = "api/v1/polls/<str:code>/"

urlpatterns = [
    path("api/v1/polls/", Polls.as_view({"get": "list", "post": "create"}), name="polls"),
    path(
        POLL,
        Polls.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="poll",
    ),
    *(
        path(f"{POLL}{step}/", Polls.as_view({"post": step}), name=f"poll-{step}")
        for step in ("open", "close", "publish", "reset")
    ),
    path(f"{POLL}ballots/", ballots.Ballots.as_view(), name="cast"),
    path(f"{POLL}ballots/batch/", ballots.BallotBatch.as_view(), name="cast-batch"),
    path(f"{POLL}challenge/", challenges.Challenge.as_view(), name="challenge"),
    path(f"{POLL}voter/", voter.Voter.as_view(), name="voter"),
    path(f"{POLL}invites/", invites.Invites.as_view(), name="invites"),
    path(f"{POLL}invites/<int:batch>/links/", invites.InviteLinks.as_view(), name="invite-links"),
    path(f"{POLL}invites/<int:batch>/revoke/", invites.InviteRevocation.as_view(), name="invites-revoke"),
    path("api/v1/receipts/<str:receipt>/", ballots.Receipt.as_view(), name="receipt"),
    path("api/errors/", reference.error_page, name="api-errors"),
]
