"""Texts that people write, in the API, the admin and commands: cleaned, visible and distinct."""

import io
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from polls import lifecycle
from polls.drafts import change_poll, create_poll
from polls.errors import Malformed
from polls.models import ApiClient, Choice, InviteBatch, Poll, Round
from polls.text.plain_text import cleaned, is_visible, isolated, visual_key
from tests.factories import make_poll, open_poll
from tests.polls.admin.test_admin import ADD, FORM, confirm, page_of
from tests.polls.api_client import POLLS, Caller, make_key, refusal

INVISIBLE = {
    "nothing": "",
    "spaces": " \u00a0\u3000\t",
    "zero width space": "\u200b",
    "joiners": "\u200c\u200d",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "Braille blank": "\u2800",
    "Hangul fillers": "\u3164\u115f\u1160\uffa0",
    "direction marks": "\u200e\u200f\u061c",
    "variation selector": "\ufe0f",
    "tags": "\U000e0041\U000e007f",
    "Mongolian vowel separator": "\u180e",
}
REFUSED = {
    "override": "a\u202eb",
    "embedding": "a\u202ab",
    "isolate": "a\u2067b",
    "NUL": "a\0b",
    "escape": "a\x1b[31mb",
    "C1": "a\u009bb",
    "line feed": "a\nb",
    "carriage return": "a\r\nb",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "next line": "a\u0085b",
    "no character": "a\ufffeb",
    "no character either": "a\U0010ffffb",
    "half a surrogate": "a\ud800b",
    "annotation": "a\ufff9b",
}
KEPT = ["می‌خواهم", "क्‍ष", "👩‍⚕️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "\u200fשלום!\u200f", "ि", "Straße", "m²", "１", "葛󠄀城", "🫩"]


@pytest.mark.full_only
@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE.keys())
def test_invisible_text_is_recognized(text: str) -> None:
    assert not is_visible(cleaned(text))
    assert visual_key(f"Yes{text}") == visual_key("Yes")


@pytest.mark.full_only
@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_refused_characters(text: str) -> None:
    with pytest.raises(ValueError, match=r"U\+[0-9A-F]{4}|one line"):
        cleaned(text)


@pytest.mark.full_only
@pytest.mark.parametrize("text", KEPT)
def test_meaningful_joiners_and_marks_are_kept(text: str) -> None:
    assert cleaned(text) == text
    assert is_visible(text)


@pytest.mark.full_only
def test_text_is_normalized() -> None:
    assert cleaned("  Cafe\u0301\u00a0\u3000 au\tlait\n") == "Café au lait"
    assert cleaned("one\r\ntwo\u2028three", lines=True) == "one\ntwo\nthree"
    with pytest.raises(ValueError, match=r"U\+202E"):
        cleaned("one\n\u202etwo", lines=True)


@pytest.mark.full_only
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Yes", "yes", True),
        ("Yes", "Y\u200bes\u2060", True),
        ("Café", "Cafe\u0301", True),
        ("a b", "a\u00a0b", True),
        ("ÄRGER", "ärger", True),
        ("Maße", "Masse", False),
        ("m²", "m2", False),
        ("1", "①", False),
        ("Tee", "Tea", False),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", False),
        ("👍", "👍🏽", False),
        ("می‌خواهم", "میخواهم", False),
        ("👩‍🚀", "👩🚀", False),
        ("نعم", "نعم\u200c", True),
        ("Yes", "Y\u200ce\u200ds", True),
        ("כן", "כ\u200dן", True),
        ("はい", "は\u200cい", True),
        ("反对", "反\u200d对", True),
        ("찬성", "찬\u200c성", True),
        ("ไม่", "ไ\u200dม่", True),
    ],
)
def test_look_alikes_have_the_same_key(one: str, other: str, same: bool) -> None:
    assert (visual_key(one) == visual_key(other)) is same


# --- the API ---

TEXTS = [*list(INVISIBLE.values())[2:9], "a\u202eb", "a\nb", "a\ufffeb", "a\x1bb"]


@pytest.mark.full_only
@pytest.mark.django_db
@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_the_api_names_the_refused_field(text: str) -> None:
    writer, poll = Caller(make_key("polls:write")), make_poll(identity="invite")
    bodies: list[tuple[str, str, dict[str, Any], str]] = [
        ("POST", POLLS, {"question": text, "choices": ["A", "B"]}, "question"),
        ("POST", POLLS, {"question": "?", "choices": ["A", text]}, "choices.1"),
        ("PATCH", f"{POLLS}{poll.code}/", {"question": text}, "question"),
        ("PATCH", f"{POLLS}{poll.code}/", {"choices": [text, "B"]}, "choices.0"),
    ]
    if "\n" not in text:  # a reason may have several lines
        bodies.append(
            ("POST", f"{POLLS}{poll.code}/quarantines/", {"reason": text, "from_now_on": True}, "reason")
        )
    if is_visible(text):
        bodies.append(("POST", f"{POLLS}{poll.code}/invites/", {"count": 1, "label": text}, "label"))
    for method, address, body, field in bodies:
        answer = writer(method, address, body)
        assert refusal(answer) == (400, "malformed"), address
        assert answer.json()["detail"].startswith(f"{field}: ")
        assert list(answer.json()["errors"]) == [field.partition(".")[0]]
    assert Poll.objects.get().question == poll.question and not InviteBatch.objects.exists()


@pytest.mark.django_db
def test_the_api_stores_the_cleaned_text() -> None:
    writer = Caller(make_key("polls:write"))
    made = writer("POST", POLLS, {"question": " Cafe\u0301\u00a0?\n", "choices": ["می‌خواهم", "a\tb"]}).json()
    assert (made["question"], [c["label"] for c in made["choices"]]) == ("Café ?", ["می‌خواهم", "a b"])


@pytest.mark.django_db
@pytest.mark.parametrize("pair", [("Yes", "Yes\u200b"), ("Café", "Cafe\u0301"), ("Tea", " tea ")], ids=ascii)
def test_an_error_names_both_choices_that_look_the_same(boss: Client, pair: tuple[str, str]) -> None:
    writer, labels = Caller(make_key("polls:write")), ["No", *pair]
    answer = writer("POST", POLLS, {"question": "?", "choices": labels})
    assert refusal(answer) == (400, "malformed")
    (sentence,) = answer.json()["errors"]["choices"]
    assert (
        f"2, “{isolated(cleaned(pair[0]))}”" in sentence and f"3, “{isolated(cleaned(pair[1]))}”" in sentence
    )
    errors = boss.post(ADD, FORM | {"labels": labels}).context["adminform"].errors
    assert errors == {"labels": [sentence]}
    assert not Poll.objects.exists()


@pytest.mark.django_db
def test_similar_but_different_labels_are_accepted() -> None:
    assert make_poll_of("Maße", "Masse", "m²", "m2").choices.count() == 4


def make_poll_of(*labels: str) -> Poll:
    return create_poll(labels, question="Which one?")


@pytest.mark.django_db
def test_create_poll_applies_the_same_rules() -> None:
    for labels in (["A", "\u200b"], ["A", "a\u202eb"], ["Café", "Cafe\u0301"]):
        with pytest.raises(Malformed):
            make_poll_of(*labels)
    assert [choice.label for choice in make_poll_of("Cafe\u0301", "B\u00a0C").choices.all()] == [
        "Café",
        "B C",
    ]


# --- the admin ---


@pytest.mark.full_only
@pytest.mark.django_db
@pytest.mark.parametrize(
    "text", ["\u200b", "\u2800", "\u3164", "a\u202eb", "a\u2028b", "a\ufffeb"], ids=ascii
)
def test_the_admin_shows_the_error_at_the_field(boss: Client, text: str) -> None:
    poll = make_poll(identity="invite")
    answer = boss.post(ADD, FORM | {"question": text})
    assert list(answer.context["adminform"].errors) == ["question"]
    answer = boss.post(ADD, FORM | {"labels": ["Tea", text]})
    assert answer.context["adminform"].errors["labels"][0].startswith("Choice 2: ")
    key = {"name": text, "scopes": ["polls:read"], "expiry_date_0": "", "expiry_date_1": ""}
    assert list(boss.post("/admin/polls/apiclient/add/", key).context["adminform"].errors) == ["name"]
    invites_page = reverse("admin:polls_poll_invites", args=[poll.pk])
    assert list(boss.post(invites_page, {"count": "1", "label": text}).context["form"].errors) == ["label"]
    quarantine = {"code": poll.code, "reason": text, "from_now_on": "on"}
    answer = boss.post("/admin/analytics/quarantine/add/", quarantine)
    assert list(answer.context["adminform"].errors) == ["reason"]
    assert Poll.objects.count() == 1 and not (ApiClient.objects.exists() or InviteBatch.objects.exists())


@pytest.mark.django_db
def test_the_admin_stores_the_cleaned_text(boss: Client) -> None:
    assert (
        boss.post(ADD, FORM | {"question": "Cafe\u0301\u00a0?", "labels": ["a\tb", "c"]}).status_code == 302
    )
    poll = Poll.objects.get()
    assert (poll.question, poll.choices.first().label) == ("Café ?", "a b")  # type: ignore[union-attr]


@pytest.mark.django_db
def test_a_stored_line_break_is_a_space_in_the_form(boss: Client) -> None:
    """A browser's one-line field would drop the line break and join the words."""
    poll = make_poll(choices=2)
    Poll.objects.update(question="one\nquestion")
    Choice.objects.filter(poll=poll, number=1).update(label="line\r\nbreak")
    source = boss.get(page_of(poll)).content.decode()
    assert 'value="line break"' in source and 'value="one question"' in source


@pytest.mark.django_db
def test_a_stored_text_keeps_its_number_when_it_is_saved_cleaned() -> None:
    poll = open_poll(choices=2)
    Choice.objects.filter(poll=poll, number=2).update(label="Cafe\u0301\nau\u00a0lait")
    lifecycle.reset_poll(poll.pk)
    change_poll(poll.pk, ["New", "Café au lait"])
    assert [(choice.number, choice.label) for choice in poll.choices.all()] == [
        (3, "New"),
        (2, "Café au lait"),
    ]


@pytest.mark.django_db
def test_a_stored_override_can_not_reorder_a_sentence(boss: Client) -> None:
    """Rows of earlier versions may contain an override, which must not reorder the text after it."""
    poll = open_poll()
    Poll.objects.update(question="\u202eevil")
    shown = f"\u2068\u202eevil\u2069 ({poll.code})"
    poll.refresh_from_db()
    assert str(poll) == shown
    assert shown in boss.get(reverse("admin:polls_poll_step", args=[poll.pk, "close"])).content.decode()
    assert "<bdi>Choice 1</bdi>" in boss.get(page_of(poll)).content.decode()
    confirm(boss, poll, "close")


@pytest.mark.django_db
def test_titles_and_account_names_are_isolated() -> None:
    poll, client = open_poll(question="מה?"), Client()
    for page in ("", "results/", "present/"):
        assert (
            f"{isolated('מה?')} · Landslide</title>" in client.get(f"/p/{poll.code}/{page}").content.decode()
        )
    client.force_login(User.objects.create_user("דנה"))
    assert f"You are signed in as {isolated('דנה')}" in client.get("/accounts/logout/").content.decode()


# --- commands and logs ---

NASTY = ["[/b]", "Yes [draft]", ":fire: [link=x]", "\x1b[31mred\x1b[0m\u202e"]


def nasty_poll() -> Poll:
    poll = open_poll(choices=len(NASTY))
    for choice, label in zip(poll.choices.all(), NASTY, strict=True):
        Choice.objects.filter(pk=choice.pk).update(label=label)
    Poll.objects.update(question="[/b]\x1b[2J")
    return poll


@pytest.mark.django_db
def test_recount_prints_labels_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    poll = nasty_poll()
    monkeypatch.setenv("COLUMNS", "200")
    call_command("recount", poll.code, no_color=True)
    said = capsys.readouterr().out
    for label in ("[/b]", "Yes [draft]", ":fire: [link=x]", r"\x1b[31mred\x1b[0m\u202e"):
        assert isolated(label) in said
    assert "\x1b" not in said and "\u202e" not in said


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("command", "options"), [("seed_demo", {}), ("create_invites", {"count": 1}), ("purge", {})]
)
def test_commands_print_questions_as_they_are(
    command: str, options: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    nasty_poll()
    state = "published" if command == "purge" else "open"
    Poll.objects.update(code="DEMO", identity="invite", state=state)
    Round.objects.update(closed_at=timezone.now())
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with suppress(CommandError):  # after "no", or because the other demo polls don't exist
        call_command(command, *(() if command == "seed_demo" else ("DEMO",)), no_color=True, **options)
    printed = "".join(capsys.readouterr())
    assert r"[/b]\x1b[2J" in printed and "\x1b" not in printed


@pytest.mark.django_db
def test_arguments_of_commands_are_cleaned() -> None:
    call_command("create_api_key", "Cafe\u0301", scopes=["polls:read"], stdout=io.StringIO())
    assert ApiClient.objects.get().name == "Café"
    poll = make_poll(identity="invite")
    call_command("create_invites", poll.code, count=1, label="a\tb", stdout=io.StringIO())
    assert InviteBatch.objects.get().label == "a b"
    for name in ("\u200b", "a\u202eb"):
        with pytest.raises(CommandError):
            call_command("create_api_key", name, scopes=["polls:read"])
    with pytest.raises(CommandError, match=r"U\+202E"):
        call_command("create_invites", poll.code, count=1, label="a\u202eb")
