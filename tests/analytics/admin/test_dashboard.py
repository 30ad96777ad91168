"""The admin's overview, and its decisions about dead letters."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analytics.counting import closing
from analytics.health import heartbeats, status
from analytics.models import Checkpoint, Pulse
from polls import lifecycle, votelog
from polls.models import DeadLetter, Poll, Round
from polls.votelog import expected_heads
from tests.admins import said, staff
from tests.factories import check_books, count, fill, make_poll, open_poll, tallied

pytestmark = pytest.mark.django_db

FIGURES = "/admin/figures/"
LIST = "/admin/polls/deadletter/"
VOTER, BALLOT = b"voter-key-16byte", b"ballot-id-16byte"


def letter_of(poll: Poll, **fields: Any) -> DeadLetter:
    given = {"partition": 0, "position": 4711, "reason": "unknown_round", "detail": "There is no round."}
    hidden = {"voter_key": VOTER, "ballot_id": BALLOT, "selection": "2"}
    return DeadLetter.objects.create(**{"poll_id": poll.pk, "round": poll.round} | given | hidden | fields)


def decide(letter: DeadLetter, decision: str) -> str:
    return reverse("admin:polls_deadletter_decide", args=[letter.pk, decision])


# --- the overview ---


def well() -> None:
    expected_heads(max_age=0)
    heartbeats.record("sweep")
    heartbeats.record("worker one@here")


def test_a_healthy_system_shows_its_figures_and_no_alarm(boss: Client) -> None:
    well()
    poll = open_poll(question="Cake?")
    fill(poll, range(3))
    figures = boss.get(FIGURES).json()
    assert figures["alarms"] == []
    assert figures["cards"]["backlog"]["value"] == "3"
    assert [worker["name"] for worker in figures["workers"]] == ["one@here"]
    count()
    figures = boss.get(FIGURES).json()
    assert figures["cards"]["backlog"]["value"] == "0"
    assert [(row["code"], row["ballots"]) for row in figures["polls"]] == [(poll.code, "3")]
    assert boss.get("/admin/").status_code == 200


def test_each_problem_has_a_colour_and_an_alarm(boss: Client) -> None:
    well()
    Pulse.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    letter_of(make_poll())
    figures = boss.get(FIGURES).json()
    assert len(figures["alarms"]) == 2
    tones = {name: card["tone"] for name, card in figures["cards"].items()}
    assert tones == {
        "backlog": "good",
        "log": "good",
        "workers": "bad",
        "sweep": "bad",
        "dead_letters": "warn",
    }
    Checkpoint.objects.update(position=1000)
    figures = boss.get(FIGURES).json()
    assert figures["cards"]["log"]["tone"] == "bad" and len(figures["alarms"]) == 3


def test_the_overview_works_while_the_log_is_down(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    well()

    def down() -> Any:
        raise ConnectionError

    monkeypatch.setattr(status, "get_log", down)
    assert boss.get("/admin/").status_code == 200
    figures = boss.get(FIGURES).json()
    assert "doesn't answer" in figures["alarms"][0]
    assert figures["cards"]["log"]["tone"] == figures["cards"]["backlog"]["tone"] == "bad"
    assert figures["cards"]["workers"]["value"] == "1"


def test_the_pages_work_while_redis_is_down(boss: Client, settings: Any, start_redis: Any) -> None:
    redis = start_redis()
    settings.VOTE_LOG, settings.VOTE_LOG_REDIS_URL = "redis", redis.url()
    votelog.forget_log()
    well()
    poll = open_poll()
    redis.kill()
    try:
        for path in ("/admin/", LIST, "/admin/polls/poll/", f"/admin/polls/poll/{poll.pk}/change/"):
            assert boss.get(path).status_code == 200
        assert "doesn't answer" in boss.get(FIGURES).json()["alarms"][0]
        answer = boss.post(f"/admin/polls/poll/{poll.pk}/close/", {"seen": "open:1"})
        assert "vote log doesn't answer" in " ".join(said(answer))
    finally:
        votelog.forget_log()


def test_the_overview_is_for_staff(client: Client) -> None:
    assert client.get(FIGURES).status_code == client.get("/admin/").status_code == 302
    client.force_login(User.objects.create_user("guest"))
    assert client.get(FIGURES).status_code == 302


def test_staff_without_view_rights_see_no_polls_on_the_overview() -> None:
    well()
    poll, client = open_poll(), staff()
    assert client.get(FIGURES).json()["polls"] == []
    assert poll.code not in client.get("/admin/").content.decode()


# --- dead letters ---


def test_no_page_shows_the_selection_or_the_voter_of_a_dead_letter(boss: Client) -> None:
    letter = letter_of(make_poll(), selection="31337", replaces=b"replaces-16-byte")
    change = reverse("admin:polls_deadletter_change", args=[letter.pk])
    chosen = {"action": "count_selected", "_selected_action": letter.pk}
    pages = [
        boss.get(LIST),
        boss.get(change),
        boss.get(f"{LIST}{letter.pk}/history/"),
        boss.get(decide(letter, "count")),
        boss.post(LIST, chosen),
    ]
    for page in pages:
        source = page.content.decode()
        assert page.status_code == 200 and "31337" not in source
        for secret in (VOTER, BALLOT, b"replaces-16-byte"):
            forms = (secret.hex(), secret.decode(), base64.urlsafe_b64encode(secret).decode().rstrip("="))
            assert not any(form in source for form in forms)


def test_the_list_needs_the_same_queries_for_many_letters(
    boss: Client, django_assert_max_num_queries: Any
) -> None:
    poll = make_poll()
    for position in range(12):
        letter_of(poll, position=position)
    with django_assert_max_num_queries(8):
        source = boss.get(LIST).content.decode()
    assert source.count(poll.code) == 12
    assert boss.get(f"{LIST}?q={poll.code}&status__exact=waiting").content.decode().count(poll.code) >= 12


def test_a_dead_letter_is_counted_after_its_cause_is_repaired(boss: Client) -> None:
    well()
    poll = open_poll()
    rules = Round.objects.get().rules
    Round.objects.update(rules=rules | {"numbers": [1]})
    letter = letter_of(poll)
    assert "It still can't be counted" in said(boss.post(decide(letter, "count")))[-1]
    Round.objects.update(rules=rules)
    assert boss.get(decide(letter, "count")).status_code == 200
    assert tallied(poll) == {}
    boss.post(decide(letter, "count"))
    letter.refresh_from_db()
    assert (letter.status, letter.settled_by) == ("counted", "boss")
    assert check_books(poll) == {(1, "ballots"): 1, (1, "2"): 1}
    assert "already settled" in said(boss.post(decide(letter, "reject")))[-1]
    assert "already settled" in said(boss.get(decide(letter, "reject")))[-1]


def test_the_confirmation_says_that_a_closed_result_will_change(boss: Client) -> None:
    well()
    poll = open_poll()
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    letter = letter_of(poll)
    assert "result of a closed" in boss.get(decide(letter, "count")).content.decode()
    boss.post(decide(letter, "count"))
    assert Round.objects.get().result["ballots"] == 1


def test_a_dead_letter_is_rejected_permanently(boss: Client) -> None:
    letter = letter_of(make_poll())
    assert "undone" in boss.get(decide(letter, "reject")).content.decode()
    boss.post(decide(letter, "reject"))
    letter.refresh_from_db()
    assert letter.status == "rejected"


def test_many_dead_letters_are_decided_together_after_a_confirmation(boss: Client) -> None:
    well()
    poll = open_poll()
    good = [letter_of(poll, position=n, voter_key=n.to_bytes(16, "big")) for n in range(3)]
    bad = [letter_of(poll, position=n, selection="9", voter_key=n.to_bytes(16, "big")) for n in range(50, 65)]
    chosen = {"action": "count_selected", "_selected_action": [letter.pk for letter in good + bad]}
    asked = boss.post(LIST, chosen)
    assert asked.status_code == 200 and tallied(poll) == {}
    hidden = [(name, str(value)) for name, value in asked.context["hidden"]]
    sure = {name: [value for other, value in hidden if other == name] for name, _ in hidden}
    messages = said(boss.post(LIST, sure))
    assert messages[0].startswith("3 ") and len(messages) == 12 and messages[-1].startswith("5 more")
    assert check_books(poll) == {(1, "ballots"): 3, (1, "2"): 3}
    assert "None of these" in said(boss.post(LIST, chosen | {"_selected_action": [good[0].pk]}))[-1]


def test_dead_letters_cannot_be_added_changed_or_deleted(boss: Client) -> None:
    letter = letter_of(make_poll())
    facts = DeadLetter.objects.values().get()
    change = reverse("admin:polls_deadletter_change", args=[letter.pk])
    assert boss.get(f"{LIST}add/").status_code == boss.post(f"{LIST}add/", {"reason": "x"}).status_code == 403
    assert boss.post(change, {"status": "counted", "reason": "x"}).status_code == 403
    assert boss.post(f"{LIST}{letter.pk}/delete/", {"post": "yes"}).status_code == 403
    boss.post(LIST, {"action": "delete_selected", "_selected_action": letter.pk, "post": "yes"})
    assert DeadLetter.objects.values().get() == facts


def test_view_only_staff_cannot_decide() -> None:
    letter, client = letter_of(make_poll()), staff("view_deadletter")
    source = client.get(reverse("admin:polls_deadletter_change", args=[letter.pk])).content.decode()
    assert decide(letter, "count") not in source
    assert client.get(decide(letter, "reject")).status_code == 403
    assert client.post(decide(letter, "reject")).status_code == 403
    chosen = {"action": "reject_selected", "_selected_action": letter.pk, "sure": "yes"}
    client.post(LIST, chosen)
    letter.refresh_from_db()
    assert letter.status == "waiting"


def test_staff_with_change_rights_decide() -> None:
    letter, client = letter_of(make_poll()), staff("view_deadletter", "change_deadletter")
    source = client.get(reverse("admin:polls_deadletter_change", args=[letter.pk])).content.decode()
    assert decide(letter, "count") in source
    client.post(decide(letter, "reject"))
    letter.refresh_from_db()
    assert (letter.status, letter.settled_by) == ("rejected", "colleague")
