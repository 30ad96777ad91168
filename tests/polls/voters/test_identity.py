"""Voter cookies, voter keys and API keys."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from polls.errors import InvalidKey
from polls.models import ApiClient
from polls.voters import identity

ONE, TWO = b"1" * 32, b"2" * 32  # secrets of two polls


def test_a_cookie_gives_its_token() -> None:
    cookie = identity.new_cookie()
    token = identity.read_cookie(cookie)
    assert token is not None
    assert len(token) == 16
    assert token == identity.read_cookie(cookie)
    assert identity.read_cookie(identity.new_cookie()) != token


def test_a_changed_cookie_is_invalid() -> None:
    cookie = identity.new_cookie()
    for place in range(len(cookie) - 1):  # the last letter has two unused bits
        other = "A" if cookie[place] != "A" else "B"
        assert identity.read_cookie(cookie[:place] + other + cookie[place + 1 :]) is None


@pytest.mark.parametrize(
    "cookie",
    [None, "", "x", "A" * 43, "A" * 42, "A" * 44, "ü" * 43, "=" * 43, "\0" * 43, "A" * 100_000],
)
def test_other_text_is_no_cookie(cookie: str | None) -> None:
    assert identity.read_cookie(cookie) is None


def test_a_cookie_of_another_key_is_valid_only_for_fallbacks(settings: Any) -> None:
    cookie = identity.new_cookie()
    old = settings.SECRET_KEY
    settings.SECRET_KEY = "another"
    assert identity.read_cookie(cookie) is None
    settings.SECRET_KEY_FALLBACKS = ["third", old]
    assert identity.read_cookie(cookie) is not None


def test_the_cookie_is_httponly_lax_and_secure_over_https() -> None:
    header = identity.cookie_header("abc", secure=False)
    assert header.startswith("voter=abc; Path=/; Max-Age=")
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    assert "Secure" not in header
    assert identity.cookie_header("abc", secure=True).endswith("; Secure")


def test_a_browser_has_another_voter_key_in_each_poll() -> None:
    token = b"t" * 16
    assert identity.browser_key(ONE, token) == identity.browser_key(ONE, token)
    assert identity.browser_key(ONE, token) != identity.browser_key(TWO, token)
    assert identity.browser_key(ONE, token) != identity.browser_key(ONE, b"u" * 16)
    assert len(identity.browser_key(ONE, token)) == 16


def test_voters_of_two_clients_have_different_keys() -> None:
    first, second = ApiClient(prefix="aaaa"), ApiClient(prefix="bbbb")
    assert identity.client_key(ONE, first, "anna") == identity.client_key(ONE, first, "anna")
    keys = {
        identity.client_key(ONE, first, "anna"),
        identity.client_key(ONE, second, "anna"),
        identity.client_key(ONE, first, "Anna"),
        identity.client_key(TWO, first, "anna"),
        identity.client_key(ONE, first, "\ud800"),  # a lone surrogate, which JSON can contain
        identity.browser_key(ONE, b"anna"),
    }
    assert len(keys) == 6


@pytest.mark.django_db
class TestApiKeys:
    def test_a_key_identifies_its_client(self) -> None:
        client, key = ApiClient.objects.create_key(name="Stage", scopes=["ballots:write"])
        for header in (f"Api-Key {key}", f"api-key {key}", f"Api-Key  {key} "):
            assert identity.authenticate_client(header) == client
        assert client.allows("ballots:write")
        assert not client.allows("polls:write")

    @pytest.mark.parametrize("header", [None, "", "Bearer x", "Basic eDp5", "Api-Keyx"])
    def test_another_header_identifies_no_client(self, header: str | None) -> None:
        assert identity.authenticate_client(header) is None

    @pytest.mark.parametrize("key", ["", "x", "abcd.efgh", "ü.ü", ".", "\ud800", "a\0b.c", "x" * 10_000])
    def test_a_wrong_key_is_refused(self, key: str) -> None:
        with pytest.raises(InvalidKey):
            identity.authenticate_client(f"Api-Key {key}")

    def test_a_correct_prefix_is_not_enough(self) -> None:
        _, key = ApiClient.objects.create_key(name="Stage")
        with pytest.raises(InvalidKey):
            identity.authenticate_client(f"Api-Key {key[:-1]}{'a' if key[-1] != 'a' else 'b'}")

    def test_a_revoked_or_expired_key_is_refused(self) -> None:
        client, key = ApiClient.objects.create_key(name="Stage")
        client.revoked = True
        client.save()
        with pytest.raises(InvalidKey):
            identity.authenticate_client(f"Api-Key {key}")
        past = timezone.now() - timedelta(seconds=1)
        _, key = ApiClient.objects.create_key(name="Late", expiry_date=past)
        with pytest.raises(InvalidKey):
            identity.authenticate_client(f"Api-Key {key}")
