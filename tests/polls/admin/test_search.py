"""Search in the API and the admin: any case and spelling, the same on every database."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client

from analytics.quarantine import decisions
from polls import drafts
from polls.models import ApiClient, Poll
from polls.text.plain_text import folded
from polls.text.timestamps import EARLIEST, LATEST
from tests.factories import make_poll, open_poll
from tests.polls.api_client import POLLS, Caller, make_key

pytestmark = pytest.mark.django_db

#: A question, and a search text that finds it.
FOUND = [
    ("Äpfel oder Birnen?", "äpfel"),
    ("äpfel oder Birnen?", "ÄPFEL"),
    ("Cafe\u0301 crème?", "café"),
    ("Café crème?", "CAFE\u0301 CRE\u0300ME"),
    ("Straße oder Weg?", "STRASSE"),
    ("Кого выбираем?", "КОГО"),
    ("ΠΟΙΟΣ;", "ποιος"),
    ("İstanbul?", "i\u0307stanbul"),
    ("İstanbul?", "istanbul"),
    ("IŞIK?", "ışık"),
    ("ışık?", "IŞIK"),
    ("Ｗｉｄｅ?", "wide"),
    ("Saal ٣٤", "saal 34"),
    ("می‌خواهم؟", "میخواهم"),
    ("🏴󠁧󠁢󠁥󠁮󠁧󠁿 or not?", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"),
    ("a\u00a0b c?", "A B  C"),
    ("100 % sure_?", "% SURE_"),
]


@pytest.mark.parametrize(("question", "typed"), FOUND)
def test_search_ignores_case_and_spelling(boss: Client, question: str, typed: str) -> None:
    poll = make_poll(question=question)
    make_poll(question="Something else?")
    found = Caller(make_key("polls:read"))("GET", f"{POLLS}?search={quote(typed)}").json()["results"]
    assert [each["code"] for each in found] == [poll.code]
    listed = boss.get("/admin/polls/poll/", {"q": typed}).context["cl"].result_list
    assert [each.pk for each in listed] == [poll.pk]


def test_a_code_is_found_as_people_type_it(boss: Client) -> None:
    poll = make_poll(code="K7MDX3")
    make_poll()
    for typed in ("k7md", "Ｋ７ＭＤＸ３", "K٧MDX٣", "k7 mdx"):
        listed = boss.get("/admin/polls/poll/", {"q": typed}).context["cl"].result_list
        assert [each.pk for each in listed] == [poll.pk], typed


def test_a_changed_question_is_found() -> None:
    poll, reader = make_poll(question="Birnen?"), Caller(make_key("polls:read"))
    drafts.change_poll(poll.pk, question="Äpfel?")
    for typed, codes in (("birnen", []), ("ÄPFEL", [poll.code])):
        found = reader("GET", f"{POLLS}?search={quote(typed)}").json()["results"]
        assert [each["code"] for each in found] == codes


def test_other_lists_search_by_the_same_rules(boss: Client) -> None:
    ApiClient.objects.create_key(name="Hörer", scopes=["polls:read"])
    ApiClient.objects.create_key(name="Other", scopes=["polls:read"])
    poll = open_poll()
    decisions.quarantine_new_ballots(poll, "Ärger im Saal", "Jürgen")
    for page, typed in (
        ("polls/apiclient", "HÖRER"),
        ("analytics/quarantine", "ärger jürgen"),
        ("analytics/quarantine", "A\u0308RGER"),
        ("analytics/quarantine", poll.code.lower()),
        ("polls/record", "JÜRGEN"),
        ("auth/user", "ＢＯＳＳ"),
    ):
        assert boss.get(f"/admin/{page}/", {"q": typed}).context["cl"].result_count == 1, (page, typed)
    for page in ("polls/apiclient", "analytics/quarantine", "polls/record", "auth/user", "auth/group"):
        assert boss.get(f"/admin/{page}/", {"q": "nothing of the kind"}).context["cl"].result_count == 0


def test_rows_of_an_earlier_version_are_migrated() -> None:
    """Rows of earlier versions have no search text, and may have times that Python can't read."""
    poll = make_poll(question="Äpfel?")
    Poll.objects.update(search_text="")
    days = ("'0001-01-01 00:00:00'", "'9999-12-31 23:59:59'")
    if connection.vendor == "postgresql":
        days = ("'-infinity'", "'infinity'")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE polls_poll SET opens_at = {days[0]}, closes_at = {days[1]}")
    migration: Any = import_module("polls.migrations.0015_search_text")
    editor = SimpleNamespace(connection=connection)
    migration.fold(apps, editor)
    migration.clamp(apps, editor)
    poll = Poll.objects.get(search_text__contains=folded("ÄPFEL"))
    assert (poll.opens_at, poll.closes_at) == (EARLIEST, LATEST)


@pytest.mark.parametrize(
    "wrong",
    [
        *("auth/user/?date_joined__year=99999", "auth/user/?last_login__year=-1"),
        *("polls/poll/?opens_at__iso_year=10000", "polls/record/?at__year__gte=100000"),
        *("polls/apiclient/?created__year=0", "analytics/quarantine/?decided_at__year=99999"),
    ],
)
def test_an_impossible_filter_is_an_invalid_filter(boss: Client, wrong: str) -> None:
    make_poll()
    assert boss.get(f"/admin/{wrong}", follow=True).redirect_chain[-1][0].endswith("?e=1")
