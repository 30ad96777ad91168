"""The admin's page of a poll's count: recount, correction, audit bundles, purge, and who may do each."""

import pytest
from django.test import Client

from analytics.admin import count as count_pages
from analytics.audit import recount
from analytics.models import Tally
from polls import lifecycle
from polls.models import Poll, Record, Round
from tests.admins import said, staff
from tests.analytics.audit_bundles import bundle_of, published
from tests.factories import check_books, count, fill, make_poll, open_poll

pytestmark = pytest.mark.django_db


def page_of(poll: Poll, step: str = "") -> str:
    return f"/admin/count/{poll.pk}/{step}"


def drifted(by: int = 7) -> Poll:
    poll = open_poll()
    fill(poll, range(20))
    count()
    slot = Tally.objects.filter(poll_id=poll.pk, key="2").first()
    assert slot
    Tally.objects.filter(pk=slot.pk).update(count=slot.count + by)
    return poll


def test_the_polls_page_links_to_the_page_of_its_count(boss: Client) -> None:
    poll = drifted()
    assert page_of(poll) in boss.get(f"/admin/polls/poll/{poll.pk}/change/").content.decode()
    assert boss.get(page_of(make_poll())).status_code == 200


def test_opening_the_page_recounts_nothing(boss: Client) -> None:
    answer = boss.get(page_of(drifted()))
    assert "rows" not in answer.context
    assert "differs from the ledger" not in answer.content.decode()


def test_a_recount_shows_the_drift_and_changes_nothing(boss: Client) -> None:
    poll = drifted()
    answer = boss.post(page_of(poll), {"round": "1"})
    rows = [(row["label"], row["tally"], row["ledger"], row["shown_drift"]) for row in answer.context["rows"]]
    assert rows == [
        ("Choice 1", "10", "10", "0"),
        ("Choice 2", "17", "10", "+7"),
        ("Choice 3", "0", "0", "0"),
        ("Ballots", "20", "20", "0"),
    ]
    assert "differs from the ledger" in answer.content.decode()
    assert recount.recount(recount.get_round(poll)).drifted


def test_a_correction_needs_a_confirmation_and_is_recorded(boss: Client) -> None:
    poll = drifted()
    asked = boss.get(page_of(poll, "fix/?round=1"))
    assert asked.status_code == 200 and recount.recount(recount.get_round(poll)).drifted
    done = boss.post(page_of(poll, "fix/"), {"round": "1"})
    assert done["Location"] == page_of(poll)
    assert "Choice 2 -7" in said(done)[-1]
    check_books(poll)
    assert Record.objects.latest("pk").actor == "user boss"
    assert "Nothing to correct" in said(boss.post(page_of(poll, "fix/"), {"round": "1"}))[-1]


def test_a_recount_of_a_stepped_tally_shows_no_counts_between_steps(boss: Client) -> None:
    poll = open_poll(release_step=10)
    fill(poll, range(7), 1)
    count()
    answer = boss.post(page_of(poll), {"round": "1"})
    assert {(row["tally"], row["ledger"]) for row in answer.context["rows"]} == {("–", "–")}


@pytest.mark.full_only
@pytest.mark.parametrize("number", ["2", "x", "٣", "99999", "9" * 20, "9" * 5000])
def test_a_missing_round_causes_no_error(boss: Client, number: str) -> None:
    poll = drifted()
    answer = boss.post(page_of(poll), {"round": number})
    assert answer.status_code == 200
    assert boss.get(page_of(poll, f"fix/?round={number}")).status_code in (200, 302)


def test_the_page_shows_the_bundles_and_the_fingerprint_of_their_key(boss: Client) -> None:
    poll, _ = published()
    assert "is being made" in boss.get(page_of(poll)).content.decode()
    bundle = bundle_of(poll)
    source = boss.get(page_of(poll)).content.decode()
    assert bundle.sha256 in source and f"/api/v1/polls/{poll.code}/audit/?round=1" in source
    assert Client().get("/api/v1/audit-key/").json()["fingerprint"] in source.replace(" ", "")


class TestPurge:
    def test_a_purge_needs_the_polls_code_typed(self, boss: Client) -> None:
        poll, _ = published()
        assert "Type the poll" in boss.get(page_of(poll, "purge/")).content.decode()
        wrong = boss.post(page_of(poll, "purge/"), {"code": "WRONG1"})
        assert "not this poll" in wrong.content.decode()
        assert not Round.objects.get(poll=poll).purged_at
        done = boss.post(page_of(poll, "purge/"), {"code": f" {poll.code.lower()}"})
        assert "Purged" in said(done)[-1]
        assert Round.objects.get(poll=poll).purged_at
        assert Record.objects.latest("pk").actor == "user boss"
        assert "Purged:" in boss.get(page_of(poll)).content.decode()

    def test_an_open_round_is_not_purged(self, boss: Client) -> None:
        poll = lifecycle.open_poll(lifecycle.reset_poll(published()[0].pk).pk)
        assert "/purge/" not in boss.get(page_of(poll)).content.decode()
        assert "under way" in said(boss.post(page_of(poll, "purge/"), {"code": poll.code}))[-1]

    def test_a_large_round_is_purged_by_the_command_only(
        self, boss: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(count_pages, "MAX_BALLOTS_IN_A_REQUEST", 3)
        poll, _ = published()
        assert (
            f"manage.py purge {poll.code}"
            in said(boss.post(page_of(poll, "purge/"), {"code": poll.code}))[-1]
        )
        assert not Round.objects.get(poll=poll).purged_at


def test_view_only_staff_see_the_count_and_change_nothing() -> None:
    poll = drifted()
    looking = staff("view_poll")
    source = looking.post(page_of(poll), {"round": "1"}).content.decode()
    assert "differs from the ledger" in source and "/fix/" not in source
    for step in ("fix/", "purge/"):
        assert looking.get(page_of(poll, step)).status_code == 403
        assert looking.post(page_of(poll, step), {"code": poll.code}).status_code == 403
    assert recount.recount(recount.get_round(poll)).drifted


def test_change_rights_alone_do_not_allow_a_purge() -> None:
    poll, _ = published()
    changing = staff("view_poll", "change_poll")
    assert "/purge/" not in changing.get(page_of(poll)).content.decode()
    assert changing.post(page_of(poll, "purge/"), {"code": poll.code}).status_code == 403


def test_users_without_staff_rights_get_no_page() -> None:
    poll = drifted()
    for step in ("", "fix/", "purge/"):
        assert "/login/" in Client().post(page_of(poll, step))["Location"]
    assert staff().get(page_of(poll)).status_code == 403
