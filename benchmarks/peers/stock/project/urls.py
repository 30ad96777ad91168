from django.urls import path
from votes.pages import poll_page
from votes.views import PollDetail, VoteCreate, VoterDetail

urlpatterns = [
    path("p/<int:pk>/", poll_page),
    path("api/polls/<int:pk>/", PollDetail.as_view()),
    path("api/polls/<int:pk>/voter/", VoterDetail.as_view()),
    path("api/polls/<int:pk>/votes/", VoteCreate.as_view()),
]
