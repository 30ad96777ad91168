"""Passes end with their accounts, and the list of ended accounts is kept short."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from polls import votelog
from polls.models import EndedAccount
from polls.voters import poll_rules
from tests.polls.api_client import POLLS, make_poll, refusal
from tests.polls.voters.browsing import Browser, person

#: Appends run in another thread, which sees only committed rows.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.full_only]


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    poll_rules.clear_cache()


@pytest.mark.parametrize("how", ["deleted", "deactivated"])
def test_a_pass_ends_with_its_account(how: str) -> None:
    poll, anna, browser = make_poll(open=True, identity="login"), person(), Browser()
    browser.sign_in(anna)
    assert browser.visit(poll)["eligible"]
    if how == "deleted":
        anna.delete()
    else:
        anna.is_active = False
        anna.save()
    refused = browser.cast(poll)
    assert (refusal(refused), refused.json()["needs"]) == ((403, "not_eligible"), "login")
    assert refusal(browser.client.get(f"{POLLS}{poll.code}/challenge/")) == (403, "not_eligible")
    assert browser.visit(poll)["needs"] == "login"
    another = Browser()
    another.sign_in(person("bert"))
    another.visit(poll)
    assert another.cast(poll).status_code == 202


def test_a_reactivated_account_votes_once() -> None:
    poll, anna, browser = make_poll(open=True, identity="login"), person(), Browser()
    for active in (False, True):
        anna.is_active = active
        anna.save()
    browser.sign_in(anna)
    browser.visit(poll)
    assert browser.cast(poll).status_code == 202
    assert refusal(browser.cast(poll, 2)) == (409, "already_voted")


def test_old_ended_accounts_are_deleted() -> None:
    old = timezone.now() - timedelta(hours=3)
    EndedAccount.objects.create(user_id=12345, at=old)
    anna = person()
    anna.delete()
    assert EndedAccount.objects.filter(user_id=12345).count() == 0
    assert EndedAccount.objects.count() == 1


def test_a_wrong_clock_deletes_no_ended_account_early(monkeypatch: pytest.MonkeyPatch) -> None:
    EndedAccount.objects.create(user_id=12345, at=timezone.now())
    votelog.sync_clock()
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 3 * 3600)
    monkeypatch.setattr(timezone, "now", lambda: datetime.fromtimestamp(time.time(), UTC))
    anna = person()
    anna.delete()
    assert EndedAccount.objects.filter(user_id=12345).exists()
