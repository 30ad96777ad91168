"""Pages to sign in and out: redirects stay on this site."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from polls.voters import poll_rules
from tests.polls.api_client import POLLS, make_poll

pytestmark = [pytest.mark.django_db, pytest.mark.full_only]

PASSWORD = "a-long-enough-one"
SIGN_IN, SIGN_OUT = "/accounts/login/", "/accounts/logout/"
ELSEWHERE = [
    "//evil.example/",
    "https://evil.example/p/X/",
    "/\\evil.example",
    "javascript:alert(1)",
    "http:///evil",
]


@pytest.fixture
def anna() -> User:
    poll_rules.clear_cache()
    return User.objects.create_user("anna", password=PASSWORD)


def sign_in(client: Client, following: str = "", password: str = PASSWORD) -> Any:
    return client.post(SIGN_IN, {"username": "anna", "password": password, "next": following})


def account(client: Client, code: str) -> Any:
    return client.get(f"{POLLS}{code}/voter/").json()["account"]


def test_a_signed_in_voter_is_known_to_the_poll(anna: User) -> None:
    poll, client = make_poll(open=True, identity="login"), Client()
    page = f"/p/{poll.code}/"
    assert f'href="{SIGN_IN}?next=%2Fp%2F{poll.code}%2F"' in client.get(page).content.decode()
    assert page in client.get(SIGN_IN, {"next": page}).content.decode()
    answer = sign_in(client, page)
    assert (answer.status_code, answer["Location"]) == (302, page)
    assert account(client, poll.code) == "anna"
    assert "You are signed in as anna" in client.get(SIGN_IN).content.decode()


def test_a_wrong_password_shows_an_error_and_keeps_next(anna: User) -> None:
    answer = sign_in(Client(), "/p/ABC/", "wrong")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "There is no account with this name and password." in text
    assert 'value="/p/ABC/"' in text
    assert "wrong" not in text.replace("Capital", "")


@pytest.mark.parametrize("target", ELSEWHERE)
def test_next_leads_to_no_other_site(anna: User, target: str) -> None:
    client = Client()
    assert sign_in(client, target)["Location"] == "/"
    assert "evil" not in client.get(SIGN_IN, {"next": target}).content.decode()
    assert "evil" not in client.get(SIGN_OUT, {"next": target}).content.decode()
    assert client.post(SIGN_OUT, {"next": target})["Location"] == "/"


def test_signing_out_asks_first(anna: User) -> None:
    poll, client = make_poll(open=True, identity="login"), Client()
    sign_in(client)
    assert "You are signed in as anna" in client.get(SIGN_OUT).content.decode()
    assert account(client, poll.code) == "anna"
    answer = client.post(SIGN_OUT, {"next": f"/p/{poll.code}/"})
    assert answer["Location"] == f"/p/{poll.code}/"
    assert account(client, poll.code) is None
    assert "You are signed out" in client.get(SIGN_OUT).content.decode()


@pytest.mark.parametrize("path", [SIGN_IN, SIGN_OUT])
def test_no_other_site_signs_anybody_in_or_out(anna: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post(path, {"username": "anna", "password": PASSWORD}).status_code == 403
    assert "no-store" in client.get(path)["Cache-Control"]


def test_the_pages_have_the_usual_headers(anna: User) -> None:
    for path in (SIGN_IN, SIGN_OUT):
        answer = Client().get(path)
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert answer["X-Frame-Options"] == "DENY"


def test_an_account_is_named_only_in_polls_for_accounts(anna: User) -> None:
    client = Client()
    sign_in(client)
    for identity in ("browser", "invite", "client"):
        assert account(client, make_poll(open=True, identity=identity).code) is None
