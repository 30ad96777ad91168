"""Actions of admins, API clients, commands and the schedule are in the audit log."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from analytics.counting import closing, dead_letters
from polls import lifecycle, login_log
from polls.audit_log import verify_chain
from polls.models import ApiClient, DeadLetter, Poll, Record
from tests.factories import count, fill, make_poll, open_poll
from tests.polls.api_client import POLLS, Caller, make_key

pytestmark = pytest.mark.django_db

FORM = {
    "question": "Tea or coffee?",
    "code": "TEATIME",
    "labels": ["Tea", "Coffee"],
    "method": "single",
    "results_visible": "always",
    "identity": "browser",
    "over_limit": "refuse",
    "proof_of_work": "auto",
    "release_step": "1",
}


@pytest.fixture
def ann() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ann", password="a long one"))
    return client


def records(**which: Any) -> list[tuple[str, str, str]]:
    assert verify_chain().broken == []
    rows = Record.objects.filter(**which).order_by("pk")
    return list(rows.values_list("actor", "action", "poll_code"))


def test_an_admins_steps_are_recorded(ann: Client) -> None:
    poll = open_poll()
    fill(poll, range(3))
    for step in ("close", "publish", "reset"):
        poll.refresh_from_db()
        ann.post(f"/admin/polls/poll/{poll.pk}/{step}/", {"seen": f"{poll.state}:{poll.round}"})
        count()
        closing.close_counted_polls()
    steps = [("user ann", f"poll {done}", poll.code) for done in ("closed", "published", "reset")]
    assert records(actor="user ann", poll_code=poll.code) == steps


def test_an_admins_changes_of_a_poll_are_recorded(ann: Client) -> None:
    answer = ann.post("/admin/polls/poll/add/", FORM)
    assert answer.status_code == 302, answer.context["errors"]
    poll = Poll.objects.get(code="TEATIME")
    ann.post(f"/admin/polls/poll/{poll.pk}/change/", FORM | {"question": "Tea?"})
    lifecycle.open_poll(poll.pk)
    ann.post(f"/admin/polls/poll/{poll.pk}/change/", {"results_visible": "staff", "over_limit": "refuse"})
    lifecycle.reset_poll(poll.pk)
    changed = ("user ann", "poll changed", "TEATIME")
    assert records(actor="user ann", poll_code="TEATIME") == [
        ("user ann", "poll created", "TEATIME"), changed, changed,
    ]  # fmt: skip
    details = list(
        Record.objects.filter(action="poll changed").order_by("pk").values_list("detail", flat=True)
    )
    assert details[0]["question"] == "Tea?"
    assert details[1] == {"results_visible": "staff"}


def test_an_api_clients_changes_are_recorded() -> None:
    call = Caller(make_key("polls:write"))
    code = call("POST", POLLS, {"question": "Tea?", "choices": ["Yes", "No"]}).json()["code"]
    call("PATCH", f"{POLLS}{code}/", {"question": "Coffee?"})
    call("POST", f"{POLLS}{code}/open/")
    other = call("POST", POLLS, {"question": "Tea?", "choices": ["Yes", "No"]}).json()["code"]
    call("DELETE", f"{POLLS}{other}/")
    client = ApiClient.objects.get()
    assert {actor for actor, _, _ in records()} == {f"API client {client.prefix} third party"}
    assert [(action, poll) for _, action, poll in records()] == [
        ("poll created", code),
        ("poll changed", code),
        ("poll opened", code),
        ("poll created", other),
        ("poll deleted", other),
    ]


def test_scheduled_steps_are_recorded() -> None:
    poll = make_poll()
    Poll.objects.update(opens_at=timezone.now() - timedelta(seconds=1))  # the log's clock may lag
    lifecycle.run_due_steps()
    assert records(action="poll opened") == [("schedule", "poll opened", poll.code)]


def test_a_refused_step_is_not_recorded(ann: Client) -> None:
    poll = open_poll()
    before = Record.objects.count()
    ann.post(f"/admin/polls/poll/{poll.pk}/open/", {"seen": f"{poll.state}:{poll.round}"})
    assert Record.objects.count() == before


def test_decisions_about_dead_letters_are_recorded() -> None:
    poll = open_poll()
    letter = DeadLetter.objects.create(poll_id=poll.pk, round=1, partition=0, position=9, reason="unreadable")
    dead_letters.reject_letter(letter.pk, "ann")
    assert records(action="dead letter rejected") == [("user ann", "dead letter rejected", poll.code)]


def test_new_and_revoked_api_clients_are_recorded(ann: Client) -> None:
    call_command("create_api_key", "radio", "--scope", "polls:read")
    ann.post("/admin/polls/apiclient/add/", {"name": "telly", "scopes": ["polls:write"]})
    client = ApiClient.objects.get(name="telly")
    ann.post(f"/admin/polls/apiclient/{client.prefix}/revoke/")
    assert records(action__contains="API client") == [
        ("command", "API client made", ""),
        ("user ann", "API client made", ""),
        ("user ann", "API client revoked", ""),
    ]
    assert Record.objects.filter(detail__client=f"{client.prefix} telly").count() == 2


def test_changed_permissions_of_accounts_are_recorded(ann: Client) -> None:
    bob = User.objects.create_user("bob", password="a long one")
    answer = ann.post(
        f"/admin/auth/user/{bob.pk}/change/",
        {"username": "bob", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
        | {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"},
    )
    assert answer.status_code == 302, answer.context["errors"]
    (row,) = Record.objects.filter(action="user changed")
    assert (row.actor, row.detail["name"]) == ("user ann", "bob")
    assert "Superuser status" in row.detail["fields"]


def test_only_logins_of_staff_are_recorded(ann: Client, client: Client) -> None:
    User.objects.create_user("voter", password="a long one")
    for name, password in (("ann", "wrong"), ("ann", "a long one"), ("voter", "wrong"), ("x" * 200, "wrong")):
        client.post("/admin/login/", {"username": name, "password": password})
    ours = [action for actor, action, _ in records() if actor == "user ann"]
    assert ours[-2:] == ["login failed", "logged in"]
    assert {actor for actor, _, _ in records()} == {"user ann"}


def test_the_number_of_recorded_failures_is_limited(ann: Client) -> None:
    login_log._failures.clear()
    for _ in range(login_log.MAX_FAILURES_PER_MINUTE + 5):
        login_log._on_failure(credentials={"username": "ann"})
    assert len(records(action="login failed")) == login_log.MAX_FAILURES_PER_MINUTE
    login_log._failures.clear()


def test_records_are_read_only_in_the_admin(ann: Client) -> None:
    poll = open_poll(question="Tea?")
    row = Record.objects.get(action="poll opened")
    assert poll.code in ann.get("/admin/polls/record/").content.decode()
    page = f"/admin/polls/record/{row.pk}/"
    assert row.digest in ann.get(f"{page}change/").content.decode()
    assert ann.get("/admin/polls/record/add/").status_code == 403
    assert ann.post(f"{page}change/", {"actor": "nobody"}).status_code == 403
    assert ann.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert not Record.objects.filter(actor="nobody").exists()
