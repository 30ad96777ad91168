"""Failed logins: who is locked out, who isn't, and what is stored."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

pytestmark = pytest.mark.django_db

PASSWORD = "four horses and a tree"
LOG_IN = "/admin/login/"
HERE, THERE = "198.51.100.7", "203.0.113.9"


@pytest.fixture(autouse=True)
def _fast(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def boss() -> User:
    return User.objects.create_superuser("boss", password=PASSWORD)


def attempt(password: str = "wrong", name: str = "boss", address: str = HERE, **headers: str) -> Any:
    return Client().post(
        LOG_IN, {"username": name, "password": password}, REMOTE_ADDR=address, headers=headers
    )


def lock_out(**how: Any) -> Any:
    for _ in range(configured.AXES_FAILURE_LIMIT - 1):
        assert attempt(**how).status_code == 200
    answer = attempt(**how)
    assert answer.status_code == 429
    return answer


def test_overlong_username_counts_as_a_failure() -> None:
    for _ in range(2):
        assert attempt(name="b" * 5000).status_code == 200
    assert AccessAttempt.objects.get().failures_since_start == 2


def test_lockout_page_says_how_long_to_wait() -> None:
    answer = lock_out()
    assert "15 minutes" in answer.content.decode()
    assert 840 < int(answer["Retry-After"]) <= 900
    assert "no-store" in answer["Cache-Control"]
    assert attempt(PASSWORD).status_code == 429  # the correct password isn't even checked


def test_lockout_does_not_affect_other_networks() -> None:
    lock_out()
    assert attempt(PASSWORD, address=THERE).status_code == 302
    assert attempt("wrong", name="colleague").status_code == 200  # another account at the same address


def test_more_failures_do_not_extend_a_lockout() -> None:
    lock_out()
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=10))
    answer = attempt()
    assert "5 minutes" in answer.content.decode() and int(answer["Retry-After"]) <= 300
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=15, seconds=1))
    assert attempt(PASSWORD).status_code == 302


def test_successful_login_resets_the_failures() -> None:
    for _ in range(3):
        for _ in range(configured.AXES_FAILURE_LIMIT - 1):
            assert attempt().status_code == 200
        assert attempt(PASSWORD).status_code == 302


def test_user_agent_and_forged_address_do_not_evade_the_lockout(settings: Any) -> None:
    lock_out(**{"user-agent": "one"})
    assert attempt(PASSWORD, **{"user-agent": "another"}).status_code == 429
    assert attempt(PASSWORD, **{"x-forwarded-for": THERE}).status_code == 429
    # Behind a trusted proxy, the forwarded address counts.
    settings.TRUSTED_PROXIES = [HERE]
    assert attempt(PASSWORD, **{"x-forwarded-for": THERE}).status_code == 302


def test_ipv6_addresses_of_one_48_count_together() -> None:
    lock_out(address="2001:db8:5:1::1")
    assert attempt(PASSWORD, address="2001:db8:5:2::7").status_code == 429
    assert attempt(PASSWORD, address="2001:db8:6::1").status_code == 302


def test_neither_address_nor_password_is_stored() -> None:
    attempt("hunter2", **{"user-agent": "Mozilla/5.0 (of one person)"})
    row = AccessAttempt.objects.values().get()
    kept = str(row)
    for secret in (HERE, "hunter2", "Mozilla", "of one person"):
        assert secret not in kept
    attempt("hunter2", address=THERE)
    assert AccessAttempt.objects.values("ip_address").distinct().count() == 2
    row_of_another_key = row["ip_address"]
    AccessAttempt.objects.all().delete()
    attempt("hunter2")
    assert AccessAttempt.objects.get().ip_address == row_of_another_key


def test_stored_hash_depends_on_the_secret_key(settings: Any) -> None:
    attempt()
    before = AccessAttempt.objects.get().ip_address
    settings.SECRET_KEY = "another"
    attempt()
    assert AccessAttempt.objects.exclude(ip_address=before).exists()


def test_axes_reset_ends_a_lockout() -> None:
    lock_out()
    call_command("axes_reset_username", "boss", stdout=StringIO())
    assert attempt(PASSWORD).status_code == 302
    lock_out(name="colleague")
    call_command("axes_reset", stdout=StringIO())
    assert attempt(name="colleague").status_code == 200


def test_password_prompts_in_the_admin_count_as_logins(boss: User) -> None:
    """Otherwise a stolen session could be used to guess the password."""
    from polls import two_factor
    from tests.polls.test_two_factor import code_of

    client = Client(REMOTE_ADDR=HERE)
    client.force_login(boss)
    (device, _earlier) = two_factor.devices_to_confirm(boss, client.session.session_key)
    client.post("/admin/two-factor/setup/", {"code": code_of(device)})
    answers = [
        client.post("/admin/two-factor/remove/", {"password": "wrong"}).status_code
        for _ in range(configured.AXES_FAILURE_LIMIT)
    ]
    assert answers[-1] == 429
    assert client.post("/admin/two-factor/remove/", {"password": PASSWORD}).status_code == 429
    assert two_factor.device_of(boss)
