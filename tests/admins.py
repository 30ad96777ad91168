"""Log in to the admin in tests, and read its messages."""

from typing import Any

from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client


def superuser() -> Client:
    return _logged_in(User.objects.create_superuser("boss"))


def staff(*permissions: str) -> Client:
    """Return a client logged in as a staff user with these permissions, such as "view_poll"."""
    user = User.objects.create_user("colleague", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return _logged_in(user)


def _logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def said(answer: Any) -> list[str]:
    """Return the messages that haven't been shown yet, the newest last."""
    return [str(message) for message in get_messages(answer.wsgi_request)]
