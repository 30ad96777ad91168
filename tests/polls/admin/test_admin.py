"""The admin of polls and API clients: permissions, frozen fields, and confirmation of every step."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisConnectionError
from rest_framework_api_key.models import APIKey

from analytics.counting import closing
from polls import lifecycle
from polls.models import ApiClient, Poll, Record, State
from tests.admins import said, staff
from tests.factories import cast, count, fill, make_poll, open_poll

pytestmark = pytest.mark.django_db

FORM = {
    "question": "Tea or coffee?",
    "code": "TEATIME",
    "labels": ["Tea", "Coffee", "", "  "],
    "method": "single",
    "min_selections": "",
    "max_selections": "",
    "results_visible": "always",
    "identity": "browser",
    "venue_networks": "",
    "over_limit": "refuse",
    "proof_of_work": "auto",
    "release_step": "1",
    "opens_at_0": "",
    "opens_at_1": "",
    "closes_at_0": "",
    "closes_at_1": "",
}
ADD = "/admin/polls/poll/add/"


def page_of(poll: Poll) -> str:
    return reverse("admin:polls_poll_change", args=[poll.pk])


def step_of(poll: Poll, step: str) -> str:
    return reverse("admin:polls_poll_step", args=[poll.pk, step])


def confirm(client: Client, poll: Poll, step: str) -> list[str]:
    """Press the button on the confirmation page. Return the messages."""
    poll.refresh_from_db()
    answer = client.post(step_of(poll, step), {"seen": f"{poll.state}:{poll.round}"})
    assert answer.status_code == 302
    poll.refresh_from_db()
    return said(answer)


def close(poll: Poll) -> Poll:
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    poll.refresh_from_db()
    assert poll.state == State.CLOSED
    return poll


# --- pages ---


def test_ballots_and_claims_have_no_admin_pages() -> None:
    admin.autodiscover()
    assert {model._meta.label for model in admin.site._registry} == {
        "auth.User",
        "auth.Group",
        "polls.Poll",
        "polls.DeadLetter",
        "polls.ApiClient",
        "polls.Record",
        "analytics.Quarantine",
        "analytics.Halt",
    }
    assert not admin.site.is_registered(APIKey)


@pytest.mark.parametrize(
    "model", ["auth/user", "auth/group", "polls/poll", "polls/apiclient", "polls/deadletter", "polls/record"]
)
def test_every_list_is_shown(boss: Client, model: str) -> None:
    assert boss.get(f"/admin/{model}/").status_code == 200


def test_users_and_groups_can_be_added(boss: Client) -> None:
    for model in ("user", "group"):
        assert boss.get(f"/admin/auth/{model}/add/").status_code == 200


@pytest.mark.parametrize("required", ["optional", "required"])
def test_the_login_page_leads_to_the_admin(settings: Any, required: str) -> None:
    settings.ADMIN_TWO_FACTOR = required
    User.objects.create_superuser("boss", password="a fine one")
    client = Client()
    answer = client.post("/admin/login/", {"username": "boss", "password": "a fine one"}, follow=True)
    inside = "/admin/" if required == "optional" else "/admin/two-factor/setup/?next=/admin/"
    assert (answer.status_code, unquote(answer.redirect_chain[-1][0])) == (200, inside)
    assert client.get("/admin/login/", follow=True).status_code == 200


@pytest.mark.full_only
def test_the_login_page_tells_a_voter_that_they_are_not_staff() -> None:
    client = Client()
    client.force_login(User.objects.create_user("voter"))
    source = client.get("/admin/login/").content.decode()
    assert "You are signed in as voter, who may vote but not organise polls." in source


# --- the list ---


def test_the_list_needs_the_same_queries_for_many_polls(
    boss: Client, django_assert_max_num_queries: Any
) -> None:
    polls = [make_poll() for _ in range(12)]
    with django_assert_max_num_queries(8):
        source = boss.get("/admin/polls/poll/").content.decode()
    for poll in polls:
        for name in ("polls:vote", "realtime:present", "realtime:results"):
            assert f'href="{reverse(name, args=[poll.code])}"' in source


def test_polls_are_found_by_code_question_and_state(boss: Client) -> None:
    wanted, other = make_poll(question="Tea or coffee?"), open_poll(question="Cake?")
    for query in (f"q={wanted.code}", "q=coffee", "state__exact=draft"):
        source = boss.get(f"/admin/polls/poll/?{query}").content.decode()
        assert wanted.code in source and other.code not in source


@pytest.mark.full_only
def test_polls_have_no_bulk_delete(boss: Client) -> None:
    poll = make_poll()
    boss.post("/admin/polls/poll/", {"action": "delete_selected", "_selected_action": poll.pk, "post": "yes"})
    assert Poll.objects.filter(pk=poll.pk).exists()


# --- creating and changing ---


def test_a_poll_is_created_with_its_choices(boss: Client) -> None:
    assert boss.get(ADD).status_code == 200
    answer = boss.post(ADD, FORM)
    assert answer.status_code == 302, answer.context["errors"]
    poll = Poll.objects.get()
    assert [(c.number, c.label) for c in poll.choices.all()] == [(1, "Tea"), (2, "Coffee")]
    assert (poll.code, poll.state) == ("TEATIME", State.DRAFT)
    assert (poll.min_selections, poll.max_selections) == (1, 1)


@pytest.mark.full_only
def test_the_expected_turnout_is_frozen_once_open(boss: Client) -> None:
    boss.post(ADD, FORM | {"expected_turnout": "250000"})
    poll = Poll.objects.get()
    assert poll.expected_turnout == 250_000
    assert 'name="expected_turnout"' in boss.get(page_of(poll)).content.decode()
    lifecycle.open_poll(poll.pk)
    source = boss.get(page_of(poll)).content.decode()
    assert 'name="expected_turnout"' not in source and "250000" in source


@pytest.mark.full_only
def test_empty_limits_are_the_methods_defaults(boss: Client) -> None:
    boss.post(ADD, FORM | {"method": "multiple"})
    poll = Poll.objects.get()
    assert (poll.min_selections, poll.max_selections) == (1, 2)


@pytest.mark.full_only
@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["Tea", "tea"]},
        {"labels": ["Tea"]},
        {"labels": []},
        {"labels": ["Tea", "x" * 201]},
        {"labels": ["Tea", "nul\0"]},
        {"labels": [f"Choice {n}" for n in range(100)]},
        {"min_selections": "2", "max_selections": "1"},
        {"max_selections": "x"},
        {"max_selections": "-1"},
        {"method": "multiple", "max_selections": "3"},
        {"method": "no such"},
        {"code": "A B!"},
        {"code": ""},
        {"question": ""},
        {"question": "nul\0"},
        {
            "opens_at_0": "2099-01-02",
            "opens_at_1": "10:00",
            "closes_at_0": "2099-01-01",
            "closes_at_1": "10:00",
        },
        {"opens_at_0": "never"},
        {"results_visible": "maybe"},
        {"expected_turnout": "0"},
        {"expected_turnout": "1000000001"},
        {"expected_turnout": "many"},
    ],
)
def test_an_invalid_poll_is_a_form_error(boss: Client, change: dict[str, Any]) -> None:
    answer = boss.post(ADD, FORM | change)
    assert answer.status_code == 200
    assert answer.context["adminform"].errors
    assert not Poll.objects.exists()


@pytest.mark.full_only
def test_required_fields_come_first_and_other_sections_are_collapsed(boss: Client) -> None:
    source = boss.get(ADD).content.decode()
    form = source[source.index('id="poll_form"') :]
    first, _, folded = form.partition("<details")
    names = set(re.findall(r'<(?:input|select)[^>]* name="([a-z]+)"', first)) - {"csrfmiddlewaretoken"}
    assert names == {"question", "labels", "method"}
    for name in ("code", "revote", "identity", "results_visible", "closes_at_0", "expected_turnout"):
        assert f'name="{name}"' in folded
    assert "Who may vote · Open: one ballot per browser" in folded


@pytest.mark.full_only
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_selections": "x"}, "max_selections"),
        ({"min_selections": "0"}, "min_selections"),
        ({"method": "multiple", "max_selections": "7"}, "max_selections"),
        ({"closes_at_0": "2020-01-01", "closes_at_1": "10:00"}, "closes_at"),
        ({"opens_at_0": "never"}, "opens_at"),
        ({"code": "A"}, "code"),
        ({"venue_networks": "the hall"}, "venue_networks"),
        ({"expected_turnout": "0"}, "expected_turnout"),
    ],
)
def test_a_section_with_an_error_is_open(boss: Client, change: dict[str, Any], field: str) -> None:
    answer = boss.post(ADD, FORM | change)
    assert list(answer.context["adminform"].errors) == [field]
    folded = re.findall(r"<details>.*?</details>", answer.content.decode(), re.DOTALL)
    assert folded and not any(f'name="{field}' in section for section in folded)
    assert 'value="Tea or coffee?"' in answer.content.decode()  # other input is kept


@pytest.mark.full_only
@pytest.mark.parametrize(("field", "most"), [("question", 300), ("labels", 200)])
def test_a_long_text_is_refused_and_not_truncated(boss: Client, field: str, most: int) -> None:
    # Browsers count an emoji as two characters of a maxlength, and silently truncate.
    assert "maxlength" not in boss.get(ADD).content.decode()
    long = "🍰" * most
    assert boss.post(ADD, FORM | {field: [long, "Tea"] if field == "labels" else long}).status_code == 302
    longer = f"{long}🍰"
    answer = boss.post(ADD, FORM | {"code": "NEXT", field: [longer, "Tea"] if field == "labels" else longer})
    assert f"at most {most} characters" in answer.context["adminform"].errors[field][0]
    assert longer in answer.content.decode()


def test_a_code_is_unique(boss: Client) -> None:
    make_poll(code="TEATIME")
    answer = boss.post(ADD, FORM | {"code": "tea time"})
    assert "code" in answer.context["adminform"].errors


def test_a_draft_can_be_changed(boss: Client) -> None:
    poll = make_poll()
    before = poll.revision
    answer = boss.post(page_of(poll), FORM | {"labels": ["Tea", "Coffee", "Water"], "_continue": "1"})
    assert answer.status_code == 302
    poll.refresh_from_db()
    assert poll.question == "Tea or coffee?" and poll.revision > before
    assert [(c.number, c.label) for c in poll.choices.all()] == [(1, "Tea"), (2, "Coffee"), (3, "Water")]


def test_numbers_that_voters_have_seen_are_not_reused(boss: Client) -> None:
    poll = open_poll(choices=3)
    lifecycle.reset_poll(poll.pk)
    form = FORM | {"labels": ["Choice 1", "New", "Choice 3"], "code": poll.code}
    assert boss.post(page_of(poll), form).status_code == 302
    assert [(c.number, c.label) for c in poll.choices.all()] == [(1, "Choice 1"), (4, "New"), (3, "Choice 3")]


@pytest.mark.full_only
def test_used_up_choice_numbers_are_a_form_error(boss: Client) -> None:
    poll = open_poll(choices=99)
    lifecycle.reset_poll(poll.pk)
    answer = boss.post(page_of(poll), FORM | {"labels": ["New", "Newer"], "code": poll.code})
    assert answer.status_code == 200
    source = answer.content.decode()
    assert "never reused" in source and 'value="Newer"' in source
    assert poll.choices.count() == 99


@pytest.mark.full_only
def test_a_drafts_page_says_why_it_cannot_be_opened(boss: Client) -> None:
    poll = make_poll()
    Poll.objects.update(closes_at=timezone.now() - timedelta(minutes=1))
    assert "The closing time has passed" in boss.get(page_of(poll)).content.decode()


# --- frozen fields of an opened poll ---


@pytest.mark.full_only
def test_a_forged_form_changes_nothing_of_an_open_poll(boss: Client) -> None:
    poll = open_poll(choices=3)
    source = boss.get(page_of(poll)).content.decode()
    assert 'name="labels"' not in source and 'name="question"' not in source
    facts = {**Poll.objects.values().get(pk=poll.pk)}
    forged = FORM | {
        "labels": ["X", "Y"],
        "revote": "on",
        "state": "published",
        "round": "7",
    }
    assert boss.post(page_of(poll), forged).status_code == 302
    assert Poll.objects.values().get(pk=poll.pk) == facts
    assert [c.label for c in poll.choices.all()] == ["Choice 1", "Choice 2", "Choice 3"]


@pytest.mark.full_only
@pytest.mark.parametrize("state", [State.OPEN, State.CLOSED])
def test_results_visibility_can_always_be_changed(boss: Client, state: State) -> None:
    poll = open_poll()
    if state == State.CLOSED:
        close(poll)
    before = Poll.objects.get(pk=poll.pk)
    sent = {"results_visible": "staff", "venue_networks": "", "over_limit": "refuse"}
    boss.post(page_of(poll), sent)
    poll.refresh_from_db()
    assert (poll.results_visible, poll.state, poll.revision) == ("staff", state, before.revision + 1)


@pytest.mark.full_only
@pytest.mark.parametrize("state", [State.OPEN, State.CLOSED])
def test_protection_can_always_be_changed(boss: Client, state: State) -> None:
    poll = open_poll()
    if state == State.CLOSED:
        close(poll)
    sent = {"results_visible": "always", "over_limit": "quarantine"}
    answer = boss.post(page_of(poll), sent | {"venue_networks": "10.1.2.3/16, 2001:DB8::/48\n\n 10.1.0.0/16"})
    assert answer.status_code == 302
    poll.refresh_from_db()
    assert (poll.venue_networks, poll.over_limit) == (["10.1.0.0/16", "2001:db8::/48"], "quarantine")
    record = Record.objects.latest("pk")
    assert (record.action, record.detail["over_limit"]) == ("poll changed", "quarantine")
    answer = boss.post(page_of(poll), sent | {"venue_networks": "the hall"})
    assert "the hall" in answer.content.decode() and "is no network" in answer.content.decode()


# --- deleting ---


def test_a_draft_can_be_deleted(boss: Client) -> None:
    poll = make_poll()
    assert boss.get(f"/admin/polls/poll/{poll.pk}/delete/").status_code == 200
    boss.post(f"/admin/polls/poll/{poll.pk}/delete/", {"post": "yes"})
    assert not Poll.objects.exists()


@pytest.mark.parametrize("again_a_draft", [False, True])
def test_a_poll_that_was_opened_cannot_be_deleted(boss: Client, again_a_draft: bool) -> None:
    poll = open_poll()
    if again_a_draft:
        lifecycle.reset_poll(poll.pk)
    assert boss.post(f"/admin/polls/poll/{poll.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Poll.objects.exists()


# --- the lifecycle's buttons ---


@pytest.mark.full_only
def test_each_state_has_buttons_for_its_steps(boss: Client) -> None:
    poll = make_poll()

    def buttons() -> list[str]:
        source = boss.get(page_of(poll)).content.decode()
        return [step for step in lifecycle.STEPS if f'name="_step" value="{step}"' in source]

    assert buttons() == ["open"]
    lifecycle.open_poll(poll.pk)
    assert buttons() == ["close", "reset"]
    lifecycle.close_poll(poll.pk)
    assert buttons() == []
    assert "this page updates by itself" in boss.get(page_of(poll)).content.decode()
    count()
    closing.close_counted_polls()
    assert buttons() == ["publish", "reset"]
    lifecycle.publish_poll(poll.pk)
    assert buttons() == ["reset"]


ALWAYS = {"results_visible": "always", "venue_networks": "", "over_limit": "refuse"}


@pytest.mark.parametrize("again", [False, True])
def test_a_button_saves_the_form_before_the_confirmation(boss: Client, again: bool) -> None:
    poll = make_poll(choices=2)
    as_shown = {"code": poll.code, "initial-code": poll.code, "min_selections": "1", "max_selections": "1"}
    form = FORM | as_shown | {"_step": "open"}
    answer = boss.post(page_of(poll), form)
    assert (answer.status_code, answer["Location"]) == (302, step_of(poll, "open"))
    poll.refresh_from_db()
    assert (poll.question, poll.state) == ("Tea or coffee?", State.DRAFT)
    assert [choice.label for choice in poll.choices.all()] == ["Tea", "Coffee"]
    if again:  # without a change, nothing is written or logged
        logged, recorded = LogEntry.objects.count(), Record.objects.count()
        boss.get(answer["Location"])
        assert boss.post(page_of(poll), form)["Location"] == step_of(poll, "open")
        assert (LogEntry.objects.count(), Record.objects.count()) == (logged, recorded)
        assert Poll.objects.get(pk=poll.pk).revision == poll.revision


@pytest.mark.full_only
@pytest.mark.parametrize(("state", "step"), [("open", "close"), ("open", "reset"), ("closed", "publish")])
def test_every_button_saves_the_editable_fields(boss: Client, state: str, step: str) -> None:
    poll = open_poll()
    if state == "closed":
        close(poll)
    answer = boss.post(page_of(poll), ALWAYS | {"results_visible": "staff", "_step": step})
    assert answer["Location"] == step_of(poll, step)
    poll.refresh_from_db()
    assert (poll.results_visible, poll.state) == ("staff", state)


@pytest.mark.full_only
def test_a_button_keeps_the_input_of_an_invalid_form(boss: Client) -> None:
    poll, opened = make_poll(), open_poll()
    source = boss.post(page_of(poll), FORM | {"labels": ["Tea"], "_step": "open"}).content.decode()
    assert "“Open voting” was not done" in source and 'value="Tea or coffee?"' in source
    assert f'href="{step_of(poll, "open")}"' in source  # the link that takes the step without the changes
    answer = boss.post(page_of(opened), ALWAYS | {"venue_networks": "the hall", "_step": "close"})
    assert "“Close voting” was not done" in answer.content.decode()
    assert Poll.objects.get(pk=poll.pk).state == State.DRAFT


@pytest.mark.full_only
def test_saving_a_poll_that_was_opened_meanwhile_warns_of_unsaved_fields(boss: Client) -> None:
    poll = open_poll()
    answer = boss.post(page_of(poll), FORM | ALWAYS)
    assert any("can't be changed" in text for text in said(answer))


@pytest.mark.full_only
def test_saving_redirects_to_the_polls_page(boss: Client) -> None:
    answer = boss.post(ADD, FORM)
    poll = Poll.objects.get()
    assert answer["Location"] == page_of(poll)
    assert 'name="_step" value="open"' in boss.get(page_of(poll)).content.decode()
    assert boss.post(page_of(poll), FORM | {"question": "Tea?"})["Location"] == page_of(poll)


@pytest.mark.full_only
def test_the_enter_key_presses_save(boss: Client) -> None:
    source = boss.get(page_of(make_poll())).content.decode()
    assert 0 < source.index('form="poll_form" name="_save"') < source.index('name="_step"')


@pytest.mark.django_db(transaction=True)
def test_the_buttons_take_a_poll_through_its_lifecycle(boss: Client, each_log: str) -> None:
    poll = make_poll()
    assert "is open" in confirm(boss, poll, "open")[-1]
    assert poll.state == State.OPEN
    assert cast(poll, [1])[0] == 202
    assert "Voting has ended" in confirm(boss, poll, "close")[-1]
    assert poll.state == State.CLOSING
    count()
    closing.close_counted_polls()
    assert "published" in confirm(boss, poll, "publish")[-1]
    assert poll.state == State.PUBLISHED
    assert "Round 2" in confirm(boss, poll, "reset")[-1]
    assert (poll.state, poll.round) == (State.DRAFT, 2)
    source = boss.get(page_of(poll)).content.decode()
    assert "1 earlier round" in source and "Choice 1" in source and "100.0%" in source
    assert "Open voting" in boss.get(f"/admin/polls/poll/{poll.pk}/history/").content.decode()


@pytest.mark.full_only
def test_a_confirmation_page_changes_nothing(boss: Client) -> None:
    poll = open_poll()
    for step in lifecycle.STEPS:
        boss.get(step_of(poll, step))
        boss.head(step_of(poll, step))
    poll.refresh_from_db()
    assert (poll.state, poll.round) == (State.OPEN, 1)


def test_a_step_without_a_csrf_token_is_refused() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    poll = make_poll()
    assert client.post(step_of(poll, "open"), {"seen": "draft:1"}).status_code == 403
    poll.refresh_from_db()
    assert poll.state == State.DRAFT


def test_a_stale_confirmation_changes_nothing(boss: Client) -> None:
    poll = open_poll()
    lifecycle.reset_poll(poll.pk)
    lifecycle.open_poll(poll.pk)
    for seen in ("open:1", "", "closed:2"):
        answer = boss.post(step_of(poll, "reset"), {"seen": seen})
        assert "Nothing was changed" in said(answer)[-1]
    poll.refresh_from_db()
    assert (poll.state, poll.round) == (State.OPEN, 2)


@pytest.mark.full_only
def test_an_illegal_step_is_an_error_message(boss: Client) -> None:
    poll = make_poll()
    assert "needs it to be" in confirm(boss, poll, "publish")[-1]
    assert "Nothing was changed" in said(boss.get(step_of(poll, "publish")))[-1]
    poll.choices.all().delete()
    assert "at least two choices" in confirm(boss, poll, "open")[-1]


@pytest.mark.full_only
def test_publishing_a_staff_only_result_says_that_it_stays_hidden(boss: Client) -> None:
    poll = close(open_poll(results_visible="staff"))
    source = boss.get(step_of(poll, "publish")).content.decode()
    assert "make them public" in source
    assert "staff only" in confirm(boss, poll, "publish")[-1]


@pytest.mark.full_only
def test_resetting_an_open_poll_warns_that_it_has_no_final_result(boss: Client) -> None:
    poll = open_poll()
    assert "has no final result" in boss.get(step_of(poll, "reset")).content.decode()
    confirm(boss, poll, "reset")
    assert "it has no final result" in boss.get(page_of(poll)).content.decode()


def test_missing_gates_are_reported(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    poll = make_poll()

    def down() -> Any:
        raise RedisConnectionError

    monkeypatch.setattr(lifecycle, "get_log", down)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, "_set_gates", lambda poll: None)
        messages = confirm(boss, poll, "open")
    assert any("vote log doesn't answer" in message for message in messages)
    assert "hasn't applied" in boss.get(page_of(poll)).content.decode()


def test_the_panel_can_be_fetched_alone(boss: Client) -> None:
    poll = open_poll()
    answer = boss.get(reverse("admin:polls_poll_panel", args=[poll.pk]))
    assert 'data-state="open"' in answer.content.decode() and "no-store" in answer["Cache-Control"]
    assert boss.get(reverse("admin:polls_poll_panel", args=[999])).status_code == 404


def test_an_unknown_poll_redirects(boss: Client) -> None:
    for path in ("/admin/polls/poll/999/change/", "/admin/polls/poll/999/open/"):
        assert boss.get(path).status_code == 302


@pytest.mark.full_only
def test_no_tally_is_in_the_pages_source(boss: Client) -> None:
    poll = open_poll(results_visible="staff")
    fill(poll, range(7), 2)
    count()
    source = boss.get(page_of(poll)).content.decode()
    assert (
        "data-ballots>–<" in source
        and "<script>" not in source.split('id="content-main"')[1].split("submit-row")[0]
    )


# --- permissions ---


@pytest.mark.full_only
def test_view_only_staff_can_change_nothing() -> None:
    client, poll = staff("view_poll"), make_poll()
    source = client.get(page_of(poll)).content.decode()
    assert step_of(poll, "open") not in source and 'name="labels"' not in source and "Choice 1" in source
    assert client.get(step_of(poll, "open")).status_code == 403
    assert client.post(step_of(poll, "open"), {"seen": "draft:1"}).status_code == 403
    assert client.post(page_of(poll), FORM).status_code == 403
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, FORM).status_code == 403
    poll.refresh_from_db()
    assert (poll.state, poll.question) == (State.DRAFT, "Which one?")


@pytest.mark.full_only
def test_staff_without_view_rights_see_nothing() -> None:
    client, poll = staff(), make_poll()
    for path in (page_of(poll), step_of(poll, "open"), reverse("admin:polls_poll_panel", args=[poll.pk])):
        assert client.get(path).status_code in (403, 404)


@pytest.mark.full_only
def test_visitors_without_a_login_are_redirected_to_it(client: Client) -> None:
    poll = make_poll()
    for path in (page_of(poll), step_of(poll, "open"), reverse("admin:polls_poll_panel", args=[poll.pk])):
        answer = client.post(path)
        assert answer.status_code == 302 and "/admin/login/" in answer["Location"]


# --- API clients ---

CLIENT = {
    "name": "TV station",
    "scopes": ["polls:read", "ballots:write"],
    "expiry_date_0": "",
    "expiry_date_1": "",
}


def test_a_key_is_shown_once_and_works(boss: Client) -> None:
    answer = boss.post("/admin/polls/apiclient/add/", CLIENT)
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"]
    key = answer.context["key"]
    api_client = ApiClient.objects.get()
    assert ApiClient.objects.get_from_key(key) == api_client and api_client.allows("ballots:write")
    assert key in answer.content.decode() and key not in str(answer.cookies)
    for path in ("", f"{api_client.prefix}/revoke/"):
        assert key.partition(".")[2] not in boss.get(f"/admin/polls/apiclient/{path}").content.decode()


@pytest.mark.full_only
@pytest.mark.parametrize("change", [{"scopes": []}, {"scopes": ["everything"]}, {"name": ""}])
def test_an_invalid_client_is_not_created(boss: Client, change: dict[str, Any]) -> None:
    assert boss.post("/admin/polls/apiclient/add/", CLIENT | change).status_code == 200
    assert not ApiClient.objects.exists()


def test_a_revocation_is_final(boss: Client) -> None:
    api_client, key = ApiClient.objects.create_key(name="TV", scopes=["polls:read"])
    change = reverse("admin:polls_apiclient_change", args=[api_client.pk])
    revoke = reverse("admin:polls_apiclient_revoke", args=[api_client.prefix])
    assert revoke in boss.get(change).content.decode()
    assert "undone" in boss.get(revoke).content.decode()
    assert ApiClient.objects.is_valid(key)
    boss.post(revoke)
    assert not ApiClient.objects.is_valid(key)
    boss.post(change, CLIENT | {"revoked": ""})
    assert ApiClient.objects.values_list("revoked", "name", "scopes").get() == (True, "TV", ["polls:read"])
    assert boss.get(change).status_code == 200
    assert "already revoked" in said(boss.post(revoke))[-1]


def test_changing_a_client_keeps_its_key(boss: Client) -> None:
    api_client, key = ApiClient.objects.create_key(name="TV", scopes=["polls:read"])
    answer = boss.post(reverse("admin:polls_apiclient_change", args=[api_client.pk]), CLIENT)
    assert answer.status_code == 302 and ApiClient.objects.is_valid(key)
    assert ApiClient.objects.get().scopes == ["polls:read", "ballots:write"]


@pytest.mark.full_only
def test_view_only_staff_cannot_change_clients() -> None:
    api_client, key = ApiClient.objects.create_key(name="TV", scopes=["polls:read"])
    client = staff("view_apiclient")
    change = reverse("admin:polls_apiclient_change", args=[api_client.pk])
    revoke = reverse("admin:polls_apiclient_revoke", args=[api_client.prefix])
    assert revoke not in client.get(change).content.decode()
    assert client.post(revoke).status_code == 403
    assert client.post(change, CLIENT).status_code == 403
    assert client.post("/admin/polls/apiclient/add/", CLIENT).status_code == 403
    assert ApiClient.objects.is_valid(key)
    assert client.post(f"{change.removesuffix('change/')}delete/", {"post": "yes"}).status_code == 403
