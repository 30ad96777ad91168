from django.urls import path
from votes.views import PollDetail, VoteCreate

urlpatterns = [
    path("api/polls/<int:pk>/", PollDetail.as_view()),
    path("api/polls/<int:pk>/votes/", VoteCreate.as_view()),
]
