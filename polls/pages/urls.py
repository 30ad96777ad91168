from django.urls import path, re_path

from polls.pages import sign_in, views

app_name = "polls"

urlpatterns = [
    path("", views.join, name="join"),
    re_path(r"^p/(?P<code>[^/#%]+)/?(?:#|%23)i(?:=|%3D)(?P<invite>[A-Za-z0-9_-]+)/?$", views.mangled_invite),
    path("p/<str:code>/", views.vote, name="vote"),
    path("accounts/login/", sign_in.SignIn.as_view(), name="sign-in"),
    path("accounts/logout/", sign_in.SignOut.as_view(), name="sign-out"),
]
