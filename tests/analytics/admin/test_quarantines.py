"""Quarantine and halted counting in the admin: permissions, confirmations, and what must stay hidden."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from analytics.counting import held_ballots
from analytics.models import Halt, Quarantine
from polls.casting.receipts import make_receipt
from polls.models import DeadLetter, Poll, Record, Round
from tests.admins import said, staff
from tests.factories import check_books, count, fill, open_poll

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("without_threshold")]

LIST = "/admin/analytics/quarantine/"
HALTS = "/admin/analytics/halt/"


def receipts(poll: Poll, voters: range) -> list[str]:
    ballots = fill(poll, voters, 1)
    count()
    return [make_receipt(poll.pk, poll.round, each.voter_key, each.ballot_id) for each in ballots]


def form(poll: Poll, **fields: Any) -> dict[str, Any]:
    return {"code": poll.code.lower(), "reason": "Sold votes", "receipts": ""} | fields


def test_ballots_are_quarantined_by_pasted_receipts_and_a_file(boss: Client) -> None:
    poll = open_poll()
    given = receipts(poll, range(8))
    file = SimpleUploadedFile("r.csv", f"receipt,name\n{given[4]},x\n\xff".encode("latin-1"))
    pasted = f"“{given[0]}”, {given[1]}; and {given[1]}\n"
    answer = boss.post(f"{LIST}add/", form(poll, receipts=pasted, file=file))
    assert answer.status_code == 302, answer.context["errors"]
    (message,) = said(answer)
    assert message.startswith("3 ballots are quarantined.")
    assert check_books(poll)[1, "ballots"] == 5
    decision = Quarantine.objects.get()
    assert (decision.reason, decision.decided_by) == ("Sold votes", "user boss")
    page = boss.get(f"{LIST}{decision.pk}/change/").content.decode()
    assert "Release" in page
    assert not any(receipt in page for receipt in given)
    assert poll.code in boss.get(LIST).content.decode()


def test_a_release_needs_a_confirmation(boss: Client) -> None:
    poll = open_poll()
    boss.post(f"{LIST}add/", form(poll, receipts=receipts(poll, range(3))[0]))
    decision = Quarantine.objects.get()
    assert "count again" in boss.get(f"{LIST}{decision.pk}/release/").content.decode()
    assert check_books(poll)[1, "ballots"] == 2
    assert "released and counted" in said(boss.post(f"{LIST}{decision.pk}/release/"))[-1]
    assert check_books(poll)[1, "ballots"] == 3
    assert Record.objects.filter(actor="user boss", action="quarantine released").exists()


def test_a_quarantine_of_new_ballots_can_be_ended(boss: Client) -> None:
    poll = open_poll()
    answer = boss.post(f"{LIST}add/", form(poll, from_now_on="on"))
    assert said(answer) == ["New ballots are quarantined until you stop it."]
    decision = Quarantine.objects.get()
    assert decision.since is not None
    assert boss.get(f"{LIST}{decision.pk}/end/").status_code == 200
    boss.post(f"{LIST}{decision.pk}/end/")
    decision.refresh_from_db()
    assert decision.until is not None
    assert "new ballots" in said(boss.post(f"{LIST}{decision.pk}/end/"))[-1]


@pytest.mark.full_only
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"receipts": "nonsense"},
        {"from_now_on": "on", "receipts": "A" * 72},
        {"code": "NOSUCH"},
        {"reason": ""},
    ],
)
def test_an_invalid_form_is_refused(boss: Client, fields: dict[str, str]) -> None:
    answer = boss.post(f"{LIST}add/", form(open_poll()) | fields)
    assert answer.status_code == 200
    assert not Quarantine.objects.exists()


def test_receipts_that_are_not_of_this_round_quarantine_nothing(boss: Client) -> None:
    answer = boss.post(f"{LIST}add/", form(open_poll(), receipts="A" * 72))
    assert "1 not of this round" in str(answer.context["errors"])
    assert not Quarantine.objects.exists()


@pytest.mark.full_only
def test_a_refused_form_keeps_its_input(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics.results.anonymity_threshold.LEAST", 10)
    poll = open_poll()
    given = receipts(poll, range(20))
    answer = boss.post(f"{LIST}add/", form(poll, receipts=given[0]))
    assert "at least 10 ballots" in str(answer.context["errors"])
    page = answer.content.decode()
    assert given[0] in page and "Sold votes" in page
    assert not Quarantine.objects.exists()


@pytest.mark.full_only
def test_view_only_staff_cannot_decide() -> None:
    poll = open_poll()
    Quarantine.objects.create(poll_id=poll.pk, round=1, rule="over_limit", decided_by="rule")
    decision = Quarantine.objects.get()
    client = staff("view_quarantine")
    assert client.get(f"{LIST}{decision.pk}/change/").status_code == 200
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{decision.pk}/release/").status_code == 403
    assert client.post(f"{LIST}{decision.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Quarantine.objects.get().released_at is None


def test_the_list_hides_the_figures_of_a_stepped_poll_until_its_next_step(boss: Client) -> None:
    poll = open_poll(release_step=5)
    boss.post(f"{LIST}add/", form(poll, receipts=" ".join(receipts(poll, range(5)))))
    assert "next step" in boss.get(LIST).content.decode()


def halted_poll() -> Poll:
    poll = open_poll()
    Round.objects.filter(poll=poll).update(rules={"method": "single", "numbers": [], "least": 1, "most": 1})
    fill(poll, range(60), 1)
    count()
    assert Halt.objects.filter(poll_id=poll.pk).exists()
    return poll


def test_a_halt_raises_an_alarm_and_can_be_resumed_in_the_admin(boss: Client) -> None:
    poll = halted_poll()
    held = held_ballots.count_ballots()
    alarms = " ".join(boss.get("/admin/figures/").json()["alarms"])
    assert poll.code in alarms
    assert str(held) in alarms
    assert poll.code in boss.get(HALTS).content.decode()
    assert "Resume counting" in boss.get(f"{HALTS}{poll.pk}/change/").content.decode()
    assert boss.get(f"{HALTS}{poll.pk}/resume/").status_code == 200
    assert "still fail" in said(boss.post(f"{HALTS}{poll.pk}/resume/"))[-1]
    rules = {"method": "single", "numbers": [1, 2, 3], "least": 1, "most": 1}
    Round.objects.filter(poll=poll).update(rules=rules)
    assert "are counted" in said(boss.post(f"{HALTS}{poll.pk}/resume/"))[-1]
    assert check_books(poll)[1, "ballots"] == held


def test_held_ballots_become_dead_letters_only_if_staff_say_so(boss: Client) -> None:
    poll = halted_poll()
    assert staff("view_halt").post(f"{HALTS}{poll.pk}/give-up/").status_code == 403
    boss.post(f"{HALTS}{poll.pk}/give-up/")
    assert DeadLetter.objects.filter(poll_id=poll.pk).count() == 60
    assert not Halt.objects.exists()
