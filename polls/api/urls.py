from django.urls import path

from . import ballots

urlpatterns = [
    path("api/v1/polls/<str:code>/ballots/", ballots.CastView.as_view(), name="cast"),
    path("api/v1/polls/<str:code>/ballots/batch/", ballots.BatchView.as_view(), name="cast-batch"),
    path("api/v1/polls/<str:code>/voter/", ballots.VoterView.as_view(), name="voter"),
    path("api/v1/receipts/<str:receipt>/", ballots.ReceiptView.as_view(), name="receipt"),
]
