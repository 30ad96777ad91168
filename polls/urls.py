from django.urls import path

from . import views

app_name = "polls"

urlpatterns = [
    path("", views.join, name="join"),
    path("p/<str:code>/", views.vote, name="vote"),
]
