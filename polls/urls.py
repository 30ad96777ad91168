from django.urls import path

from . import sign_in, views

app_name = "polls"

urlpatterns = [
    path("", views.join, name="join"),
    path("p/<str:code>/", views.vote, name="vote"),
    path("accounts/login/", sign_in.SignIn.as_view(), name="sign-in"),
    path("accounts/logout/", sign_in.SignOut.as_view(), name="sign-out"),
]
