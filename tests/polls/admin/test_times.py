"""Times in the admin: shown with their zone, and kept to the microsecond unless changed."""

import re
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from polls.models import ApiClient, Poll
from tests.factories import make_poll

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def berlin(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"


#: 02:30 occurs twice that night, and a form has no fractions of a second.
TWICE = ("2027-10-31T02:30:00+02:00", "2027-10-31T02:30:00+01:00", "2027-10-31T02:30:59.123456+02:00")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def as_shown(client: Client, page: str) -> dict[str, Any]:
    """Return the fields that the page's form sends if the user changes nothing."""
    form = client.get(page).context["adminform"].form
    sent: dict[str, Any] = {}
    for bound in form:
        value = bound.value()
        if hasattr(bound.field.widget, "decompress") and not isinstance(value, list):
            parts = bound.field.widget.decompress(value)
            sent |= {f"{bound.html_name}_{n}": part or "" for n, part in enumerate(parts)}
        elif value not in (None, False):
            sent[bound.html_name] = value
    return sent


@pytest.mark.parametrize("closes_at", TWICE)
def test_changing_a_poll_keeps_its_times_exactly(boss: Client, closes_at: str) -> None:
    poll = make_poll(closes_at=at(closes_at))
    page = f"/admin/polls/poll/{poll.pk}/change/"
    answer = boss.post(page, as_shown(boss, page) | {"question": "Without the typo?"})
    assert answer.status_code == 302, answer.context["errors"]
    poll.refresh_from_db()
    assert (poll.question, poll.closes_at) == ("Without the typo?", at(closes_at))


@pytest.mark.full_only
def test_an_ambiguous_time_is_a_form_error(boss: Client) -> None:
    poll = make_poll(closes_at=at("2027-10-30T12:00:00+02:00"))
    page = f"/admin/polls/poll/{poll.pk}/change/"
    sent = as_shown(boss, page) | {"closes_at_0": "2027-10-31", "closes_at_1": "02:30", "question": "Kept?"}
    answer = boss.post(page, sent)
    assert "twice or not at all" in answer.context["adminform"].errors["closes_at"][0]
    assert 'value="Kept?"' in answer.content.decode()
    assert boss.post(page, sent | {"closes_at_1": "03:30"}).status_code == 302
    assert Poll.objects.get(pk=poll.pk).closes_at == at("2027-10-31T03:30:00+01:00")


@pytest.mark.full_only
@pytest.mark.parametrize("moment", TWICE)
def test_changing_api_clients_and_accounts_keeps_their_times_exactly(boss: Client, moment: str) -> None:
    client, _key = ApiClient.objects.create_key(name="Ours", scopes=["polls:read"], expiry_date=at(moment))
    user = User.objects.create_user("colleague", date_joined=at(moment), last_login=at(moment))
    listed = boss.get("/admin/polls/apiclient/").content.decode()
    (client_page,) = set(re.findall(r'href="(/admin/polls/apiclient/[^"]+/change/)', listed))
    for page, change in (
        (client_page, {"name": "Theirs"}),
        (f"/admin/auth/user/{user.pk}/change/", {"first_name": "Ada"}),
    ):
        assert boss.post(page, as_shown(boss, page) | change).status_code == 302
    client.refresh_from_db()
    user.refresh_from_db()
    assert (client.name, client.expiry_date) == ("Theirs", at(moment))
    assert (user.first_name, user.date_joined, user.last_login) == ("Ada", at(moment), at(moment))


@pytest.mark.parametrize(("month", "zone"), [(1, "CET"), (7, "CEST")])
def test_pages_and_forms_name_the_time_zone(boss: Client, month: int, zone: str) -> None:
    poll = make_poll(opens_at=at(f"2027-{month:02}-05T12:00:00+00:00"))
    for path in ("", f"{poll.pk}/change/", f"{poll.pk}/open/"):
        assert f"p.m. {zone}" in boss.get(f"/admin/polls/poll/{path}").content.decode()
    form = boss.get(f"/admin/polls/poll/{poll.pk}/change/").content.decode()
    assert form.count("Time zone: Europe/Berlin.") == 2
    assert 'data-zone="Europe/Berlin"' in form
