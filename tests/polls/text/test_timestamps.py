"""Times that people give: one format, the same bounds and the same rule about the past everywhere."""

import warnings
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone as django_timezone
from rest_framework import serializers

from polls.api.fields import Moment
from polls.models import ApiClient, Poll, Record, State
from polls.text.timestamps import EARLIEST, LATEST, in_bounds
from tests.factories import make_poll, open_poll
from tests.polls.admin.test_admin import ADD, FORM, page_of
from tests.polls.api_client import POLLS, Caller, make_key, refusal

FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001
SUMMER = datetime(2030, 6, 30, 10, tzinfo=UTC)
TIMES = ("opens_at", "closes_at")


@pytest.mark.full_only
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-06-30T10:00:00Z", SUMMER),
        ("2030-06-30t10:00:00z", SUMMER),
        ("2030-06-30 10:00:00Z", SUMMER),
        ("2030-06-30T12:00:00+02:00", SUMMER),
        ("2030-06-30T10:00:00-00:00", SUMMER),
        ("2030-06-30T10:00:00.5Z", SUMMER + timedelta(seconds=0.5)),
        ("2030-06-30T10:00:00.123456789012Z", SUMMER + timedelta(microseconds=123457)),
    ],
)
def test_rfc_3339_times_are_parsed(text: str, moment: datetime) -> None:
    assert Moment().to_internal_value(text) == moment


NOT_RFC_3339 = [
    "2030-W10-1T00:00:00Z",
    "2030-181T00:00:00Z",
    "20300630T100000Z",
    "2030-06-30T100000Z",
    "٢٠٣٠-٠٦-٣٠T10:00:00Z",
    "２０３０-06-30T10:00:00Z",
    "2030-06-30",
    "2030-06-30T10:00Z",
    "2030-06-30T10Z",
    "2030-06-30T10:00:00,5Z",
    "2030-06-30T10:00:00.Z",
    "2030-06-30T10:00:00+02",
    "2030-06-30T10:00:00+24:00",
    "2030-06-30T10:00:00+02:60",
    "2030-06-30T10:00:00 Z",
    "2030-06-30T10:00:00Z\n",
    "2030-6-30T10:00:00Z",
    "2030-02-30T10:00:00Z",
    "2030-06-30T24:00:00Z",
    "+2030-06-30T10:00:00Z",
    "1909440000",
    "soon",
    "",
]


@pytest.mark.full_only
@pytest.mark.parametrize("text", NOT_RFC_3339)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(serializers.ValidationError) as refused:
        Moment().to_internal_value(text)
    assert refused.value.get_codes() == ["invalid"]


@pytest.mark.full_only
def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(serializers.ValidationError) as refused:
        Moment().to_internal_value("2030-06-30T10:00:00")
    assert refused.value.get_codes() == ["naive"]


@pytest.mark.full_only
def test_the_bounds_hold_in_every_time_zone() -> None:
    far = [timezone(timedelta(hours=hours)) for hours in (-14, 14)]
    assert in_bounds(EARLIEST) and in_bounds(LATEST)
    assert not in_bounds(EARLIEST - timedelta(microseconds=1))
    assert not in_bounds(LATEST + timedelta(microseconds=1))
    assert not any(in_bounds(end.replace(tzinfo=zone)) for end in (FIRST, LAST) for zone in far)


# --- the API ---


@pytest.mark.django_db
@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2020-01-01T00:00:00Z", *NOT_RFC_3339[:4]]
)
def test_the_api_names_the_field_of_a_wrong_time(name: str, text: str) -> None:
    writer, poll = Caller(make_key("polls:write")), make_poll()
    for answer in (
        writer("POST", POLLS, {"question": "When?", "choices": ["A", "B"], name: text}),
        writer("PATCH", f"{POLLS}{poll.code}/", {name: text}),
    ):
        assert refusal(answer) == (400, "malformed")
        assert answer.json()["detail"].startswith(f"{name}: ")
        assert list(answer.json()["errors"]) == [name]
    assert Poll.objects.get().opens_at is None


@pytest.mark.django_db
def test_an_unchanged_time_may_have_passed() -> None:
    writer, poll = Caller(make_key("polls:write")), make_poll()
    passed = django_timezone.now() - timedelta(days=1)
    Poll.objects.filter(pk=poll.pk).update(closes_at=passed)
    answer = writer("PATCH", f"{POLLS}{poll.code}/", {"question": "A typo less?"})
    assert answer.status_code == 200
    assert Poll.objects.get().closes_at == passed


# --- the admin ---


def _split(name: str, text: str) -> dict[str, str]:
    day, _, hour = text.partition(" ")
    return {f"{name}_0": day, f"{name}_1": hour}


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("text", ["9999-12-31 23:59:59", "0001-01-01 00:00:00", "2020-01-01 10:00:00"])
def test_the_admin_shows_a_wrong_time_at_the_field(boss: Client, zone: str, name: str, text: str) -> None:
    with django_timezone.override(zone):
        answer = boss.post(ADD, FORM | _split(name, text))
        assert answer.status_code == 200
        assert list(answer.context["adminform"].errors) == [name]
    assert not Poll.objects.exists()


@pytest.mark.django_db
def test_a_draft_whose_time_has_passed_can_be_edited(boss: Client) -> None:
    poll = make_poll()
    passed = datetime(2020, 1, 1, 10, tzinfo=UTC)
    Poll.objects.filter(pk=poll.pk).update(closes_at=passed)
    answer = boss.post(page_of(poll), FORM | _split("closes_at", "2020-01-01 10:00:00") | {"_continue": "1"})
    assert answer.status_code == 302
    poll.refresh_from_db()
    assert (poll.question, poll.closes_at) == (FORM["question"], passed)


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["9999-12-31 23:59:59", "0001-01-01 00:00:00"])
def test_a_keys_expiry_has_the_same_bounds(boss: Client, text: str) -> None:
    form = {"name": "Reader", "scopes": ["polls:read"], **_split("expiry_date", text)}
    with django_timezone.override("America/New_York"):
        answer = boss.post("/admin/polls/apiclient/add/", form)
        assert answer.status_code == 200
        assert list(answer.context["adminform"].errors) == ["expiry_date"]
    assert not ApiClient.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("end", [FIRST, LAST])
def test_no_stored_row_breaks_a_page(boss: Client, zone: str, end: datetime) -> None:
    """Rows may come from earlier versions or from scripts."""
    end = end.replace(tzinfo=UTC) if connection.vendor == "postgresql" else end
    make_key("polls:read")
    draft, opened = make_poll(), open_poll()
    names = ("opens_at", "closes_at", "closed_at", "published_at")
    with connection.cursor() as cursor:  # in SQL, because the model writes no time outside the bounds
        cursor.execute(f"UPDATE polls_poll SET {', '.join(f'{name} = %s' for name in names)}", [str(end)] * 4)
        cursor.execute("UPDATE polls_apiclient SET expiry_date = %s", [str(end)])
    pages = [
        "/admin/",
        "/admin/polls/poll/",
        page_of(draft),
        page_of(opened),
        "/admin/polls/apiclient/",
        reverse("admin:polls_apiclient_change", args=[ApiClient.objects.get().pk]),
        f"/p/{opened.code}/",
        f"/p/{opened.code}/results/",
        f"/api/v1/polls/{opened.code}/tally/",
    ]
    with django_timezone.override(zone):
        for state in (None, State.CLOSED, State.PUBLISHED):
            if state:
                Poll.objects.filter(pk=opened.pk).update(state=state)
            assert [page for page in pages if boss.get(page).status_code != 200] == []
        answer: Any = Caller(make_key("polls:read"))("GET", POLLS)
    assert answer.status_code == 200 and len(answer.json()["results"]) == 2


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_a_filter_accepts_any_time(boss: Client, settings: Any, zone: str) -> None:
    settings.TIME_ZONE = zone
    asked = "at_from_0=0001-01-01&at_from_1=00:00:00&at_to_0=9999-12-31&at_to_1=23:59:59"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the filter's naive times are in our time zone
        answer = boss.get(f"/admin/polls/record/?{asked}")
    assert answer.status_code == 200 and answer.context["cl"].result_count == Record.objects.count()


@pytest.mark.django_db
def test_a_time_outside_the_bounds_is_stored_as_the_bound() -> None:
    make_poll()
    Poll.objects.update(closes_at=LAST.replace(tzinfo=UTC), opens_at=FIRST.replace(tzinfo=UTC))
    poll = Poll.objects.get(closes_at=LATEST, opens_at=EARLIEST)
    poll.save()


@pytest.mark.full_only
@pytest.mark.django_db
def test_the_model_validates_the_bounds() -> None:
    poll = make_poll()
    poll.closes_at = LAST.replace(tzinfo=UTC)
    with pytest.raises(ValidationError):
        poll.full_clean()
