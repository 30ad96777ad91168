"""Two-factor login to the admin: setup, codes, recovery codes and removal."""

from base64 import b32decode
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from polls import clock, two_factor
from polls.models import Record
from tests.factories import make_poll

pytestmark = [pytest.mark.django_db, pytest.mark.full_only]

PASSWORD = "four horses and a tree"
LOG_IN, CODE, SET_UP = "/admin/login/", "/admin/two-factor/code/", "/admin/two-factor/setup/"


@pytest.fixture(autouse=True)
def _required(settings: Any) -> None:
    settings.ADMIN_TWO_FACTOR = "required"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss", password=PASSWORD)


@pytest.fixture
def browser(boss: User) -> Client:
    """A client that has entered the password, but no code."""
    return log_in(Client())


def log_in(client: Client, page: str = "/admin/") -> Client:
    answer = client.post(f"{LOG_IN}?next={page}", {"username": "boss", "password": PASSWORD, "next": page})
    assert answer.status_code == 302
    return client


def code_of(device: TOTPDevice, *, steps: int = 0) -> str:
    """Return the code that the app shows `steps` half-minutes from now."""
    totp = TOTP(device.bin_key, drift=steps)
    return f"{totp.token():06}"


def shown_on(page: Any) -> TOTPDevice:
    """Return the app that has scanned the key on this page."""
    return TOTPDevice(key=b32decode(page.context["key"].replace(" ", "")).hex())


def enrol(client: Client) -> list[str]:
    answer = client.post(SET_UP, {"code": code_of(shown_on(client.get(SET_UP)))})
    assert answer.status_code == 200
    codes: list[str] = answer.context["codes"]
    return codes


def again(device: TOTPDevice) -> str:
    """Return the app's next code: it is unused, and accepted since an app's clock may be ahead."""
    return code_of(device, steps=1)


def test_a_password_alone_reaches_nothing_but_the_page_that_sets_it_up(browser: Client) -> None:
    poll = make_poll()
    pages = ["", "polls/poll/", f"polls/poll/{poll.pk}/change/", "figures/", "password_change/"]
    for page in (*pages, "two-factor/", "two-factor/recovery-codes/", "two-factor/remove/"):
        answer = browser.get(f"/admin/{page}")
        assert (answer.status_code, answer["Location"][:13]) == (302, "/admin/login/"), page
    onward = browser.get(f"{LOG_IN}?next=/admin/polls/poll/")
    assert onward["Location"] == f"{SET_UP}?next=%2Fadmin%2Fpolls%2Fpoll%2F"
    answer = browser.post(f"/admin/polls/poll/{poll.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 302
    poll.refresh_from_db()
    assert browser.get(SET_UP).status_code == 200


def test_logout_works_before_the_code(browser: Client) -> None:
    browser.post("/admin/logout/")
    assert "_auth_user_id" not in browser.session
    assert browser.get(SET_UP)["Location"].startswith(LOG_IN)


def test_setup_lets_in_and_shows_recovery_codes_once(browser: Client, boss: User) -> None:
    page = browser.get(SET_UP)
    shown = page.context["key"]
    assert browser.get(SET_UP).context["key"] == shown  # a reload keeps the key
    assert browser.post(SET_UP, {"code": "000000"}).context["key"] == shown
    assert log_in(Client()).get(SET_UP).context["key"] != shown
    assert not TOTPDevice.objects.exists()
    before = browser.session.session_key
    codes = enrol(browser)
    assert TOTPDevice.objects.get(user=boss).bin_key == b32decode(shown.replace(" ", ""))
    assert browser.session.session_key != before
    assert len(set(codes)) == two_factor.RECOVERY_CODES
    assert browser.get("/admin/").status_code == 200
    assert browser.get(SET_UP)["Location"] == "/admin/two-factor/"
    assert codes[0] not in browser.get("/admin/two-factor/").content.decode()
    kept = "".join(StaticToken.objects.values_list("token", flat=True))
    assert not any(code.replace(" ", "") in kept for code in codes)


def test_an_unconfirmed_key_expires(browser: Client) -> None:
    shown_at = clock.now()

    def after(hours: float) -> Any:
        return mock.patch("polls.two_factor.clock.now", return_value=shown_at + hours * 3600)

    with after(0):
        app = shown_on(browser.get(SET_UP))
    for hours, taken in ((2.1, False), (1, True)):
        with after(hours):
            assert ("codes" in browser.post(SET_UP, {"code": code_of(app)}).context) is taken


def test_pages_with_secrets_are_not_cached(browser: Client) -> None:
    page = browser.get(SET_UP)
    assert "no-store" in page["Cache-Control"]
    answer = browser.post(SET_UP, {"code": code_of(shown_on(page))})
    assert "no-store" in answer["Cache-Control"]


def test_after_setup_a_login_needs_a_code(browser: Client) -> None:
    enrol(browser)
    device = TOTPDevice.objects.get()
    other = log_in(Client(), "/admin/polls/poll/")
    assert other.get(f"{LOG_IN}?next=/admin/polls/poll/")["Location"].startswith(CODE)
    assert other.get("/admin/").status_code == 302
    assert other.get(SET_UP)["Location"] == "/admin/two-factor/"  # a code, not another setup
    assert other.post(SET_UP, {"code": "000000"}).status_code == 302
    answer = other.post(
        CODE, {"code": f" {again(device)[:3]} {again(device)[3:]}", "next": "/admin/polls/poll/"}
    )
    assert answer["Location"] == "/admin/polls/poll/"
    assert other.get("/admin/polls/poll/").status_code == 200


def test_a_code_works_once(browser: Client) -> None:
    enrol(browser)
    code = again(TOTPDevice.objects.get())
    first, second = log_in(Client()), log_in(Client())
    assert first.post(CODE, {"code": code}).status_code == 302
    answer = second.post(CODE, {"code": code})
    assert answer.status_code == 200 and "accepted" in str(answer.context["form"].errors)
    assert second.get("/admin/").status_code == 302


def test_each_recovery_code_works_once_and_only_for_its_owner(browser: Client) -> None:
    codes = enrol(browser)
    other = log_in(Client())
    assert other.post(CODE, {"code": codes[0]}).status_code == 302
    assert other.get("/admin/").status_code == 200
    assert log_in(Client()).post(CODE, {"code": codes[0]}).status_code == 200
    colleague = User.objects.create_superuser("colleague")
    TOTPDevice.objects.create(user=colleague)
    assert two_factor.verify(colleague, codes[1]) is None
    assert two_factor.recovery_codes_left(User.objects.get(username="boss")) == len(codes) - 1


def test_recovery_codes_outlive_a_change_of_the_secret_key(
    browser: Client, boss: User, settings: Any
) -> None:
    codes = enrol(browser)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert two_factor.verify(boss, codes[0]) is not None


def test_wrong_codes_are_throttled(browser: Client, boss: User) -> None:
    enrol(browser)
    device = TOTPDevice.objects.get()
    TOTPDevice.objects.update(throttling_failure_count=9, throttling_failure_timestamp=timezone.now())
    other = log_in(Client())
    answer = other.post(CODE, {"code": again(device)})
    assert "seconds" in str(answer.context["form"].errors)  # even the right code is refused
    assert other.get("/admin/").status_code == 302
    # Recovery codes are throttled separately, so an owner can log in even if an attacker used up the app's
    # tries.
    codes = two_factor.new_recovery_codes(boss)
    assert other.post(CODE, {"code": codes[0]}).status_code == 302


def test_next_leads_to_this_site_only(browser: Client) -> None:
    enrol(browser)
    answer = log_in(Client()).post(
        CODE, {"code": again(TOTPDevice.objects.get()), "next": "https://evil.example/"}
    )
    assert answer["Location"] == "/admin/"


def test_new_recovery_codes_need_the_password_and_replace_the_old(browser: Client, boss: User) -> None:
    old = enrol(browser)
    page = "/admin/two-factor/recovery-codes/"
    assert "password" in str(browser.post(page, {"password": "wrong"}).context["form"].errors)
    new = browser.post(page, {"password": PASSWORD}).context["codes"]
    assert two_factor.verify(boss, old[0]) is None
    two_factor.StaticDevice.objects.update(throttling_failure_count=0)
    assert two_factor.verify(boss, new[0]) is not None


def test_removal_needs_the_password_and_leads_to_a_new_setup(browser: Client, boss: User) -> None:
    enrol(browser)
    page = "/admin/two-factor/remove/"
    browser.post(page, {"password": "wrong"})
    assert two_factor.device_of(boss)
    assert browser.post(page, {"password": PASSWORD})["Location"] == SET_UP
    assert two_factor.device_of(boss) is None
    assert browser.get("/admin/").status_code == 302


def test_optional_two_factor_is_suggested_and_then_required(boss: User, settings: Any) -> None:
    settings.ADMIN_TWO_FACTOR = "optional"
    client = log_in(Client())
    assert SET_UP in client.get("/admin/").content.decode()
    enrol(client)
    assert SET_UP not in client.get("/admin/").content.decode()
    other = log_in(Client())
    assert other.get("/admin/").status_code == 302
    assert (
        client.post("/admin/two-factor/remove/", {"password": PASSWORD})["Location"] == "/admin/two-factor/"
    )
    assert other.get("/admin/").status_code == 200


def test_a_session_without_a_code_sees_no_hidden_tally(browser: Client) -> None:
    poll = make_poll(results_visible="staff")
    tally = f"/api/v1/polls/{poll.code}/tally/"
    assert browser.get(tally).json()["visible"] is False
    enrol(browser)
    assert browser.get(tally).json()["visible"] is True


def test_the_pages_need_a_staff_login() -> None:
    for page in (CODE, SET_UP):
        assert Client().get(page)["Location"].startswith(LOG_IN)
    voter = Client()
    voter.force_login(User.objects.create_user("voter"))
    for page in (CODE, SET_UP):
        assert voter.get(page)["Location"].startswith(LOG_IN)
    assert not TOTPDevice.objects.exists()


def test_the_command_resets_it_and_is_recorded(browser: Client, boss: User) -> None:
    enrol(browser)
    out = StringIO()
    call_command("reset_two_factor", "boss", stdout=out)
    assert "sets up a new one" in out.getvalue()
    assert two_factor.device_of(boss) is None and not StaticToken.objects.exists()
    assert browser.get("/admin/").status_code == 302  # the removed app's sessions have ended
    assert Record.objects.filter(action="two-factor removed", detail__account="boss").exists()
    assert Record.objects.filter(action="two-factor set up", actor="user boss").exists()
    for name in ("boss", "nobody"):
        with pytest.raises(CommandError):
            call_command("reset_two_factor", name)
