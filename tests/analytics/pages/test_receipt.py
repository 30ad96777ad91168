"""The receipt page: the verdict on a ballot, and where the receipt must not appear."""

import logging
from typing import Any

import pytest
from django.test import Client

from analytics.counting import dead_letters
from polls import lifecycle
from polls.casting.receipts import make_receipt
from polls.models import Ballot, DeadLetter, Poll, Round
from polls.votelog import get_log
from tests.analytics.audit_bundles import bundle_of, published, receipt_of
from tests.factories import append, count, fill, make_poll, new_ballot, open_poll
from tests.polls.public_pages import check_policy

pytestmark = pytest.mark.django_db


def page_of(poll: Poll) -> str:
    return f"/p/{poll.code}/receipt/"


def ask(poll: Poll, receipt: str, client: Client | None = None) -> str:
    answer = (client or Client(enforce_csrf_checks=True)).post(page_of(poll), {"receipt": receipt})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert not answer.cookies
    source = answer.content.decode()
    check_policy(source)
    return source


def test_the_page_asks_for_a_receipt() -> None:
    poll = open_poll()
    answer = Client().get(page_of(poll))
    source = answer.content.decode()
    assert answer.status_code == 200 and not answer.cookies
    assert "public" in answer["Cache-Control"]
    assert '<form method="post"' in source and "csrf" not in source
    assert "verdict" not in source
    check_policy(source)


def test_other_spellings_of_the_code_work() -> None:
    poll = open_poll()
    answer = Client().get(f"/p/{poll.code.lower()}/receipt/")
    assert (answer.status_code, answer["Location"]) == (302, page_of(poll))
    assert Client().get("/p/NOPE42/receipt/").status_code == 404
    assert Client().post("/p/NOPE42/receipt/", {"receipt": "x"}).status_code == 404
    assert Client().put(page_of(poll)).status_code == 405


class TestVerdicts:
    def test_the_page_shows_a_ballot_as_accepted_then_counted_then_replaced(self) -> None:
        poll = open_poll(revote=True)
        (first,) = fill(poll, range(1), 1)
        assert "Accepted, being counted" in ask(poll, receipt_of(first))
        count()
        assert "Counted" in ask(poll, receipt_of(first))
        second = new_ballot(poll, 0, 2, replaces=first.ballot_id)
        append(second)
        count()
        assert "Replaced by a later ballot of yours" in ask(poll, receipt_of(first))
        assert "Your ballot is part of the count." in ask(poll, receipt_of(second))

    def test_the_page_shows_that_a_ballot_is_quarantined(self) -> None:
        poll = open_poll()
        (ballot,) = fill(poll, range(1), 1)
        count()
        Ballot.objects.filter(poll_id=poll.pk).update(quarantine_id=1)
        assert "it counts in the second tally" in ask(poll, receipt_of(ballot))

    def test_the_page_shows_that_a_ballot_was_rejected(self) -> None:
        poll = open_poll()
        append(ballot := new_ballot(poll, 0, 77))
        count()
        dead_letters.reject_letter(DeadLetter.objects.get().pk, by="anna")
        source = ask(poll, receipt_of(ballot))
        assert "Rejected" in source
        assert "77" not in source.split("verdict", 1)[1].split("<form", 1)[0]

    def test_the_page_shows_that_a_round_was_purged(self) -> None:
        poll, (ballot, *_) = published()
        Ballot.objects.filter(poll_id=poll.pk).delete()
        get_log().forget(poll.pk, {n: head.position for n, head in get_log().heads().items()})
        Round.objects.filter(poll=poll).update(purged_at=poll.published_at)
        assert "Not linked to a ballot any more" in ask(poll, receipt_of(ballot))

    @pytest.mark.full_only
    @pytest.mark.parametrize("typed", ["x", "A" * 72, "ü" * 72, "\0", "'; DROP TABLE", "<b>", "a" * 5000])
    def test_an_invalid_receipt_is_unknown(self, typed: str) -> None:
        poll = open_poll()
        if len(typed) > 4096:
            assert Client().post(page_of(poll), {"receipt": typed}).status_code == 413
            return
        source = ask(poll, typed)
        assert "We don&#x27;t know this receipt" in source
        assert "<b>" not in source

    def test_a_receipt_without_a_ballot_is_unknown(self) -> None:
        poll = open_poll()
        assert "We don&#x27;t know" in ask(poll, make_receipt(poll.pk, 1, b"v" * 16, b"b" * 16))

    def test_an_empty_receipt_is_a_form_error(self) -> None:
        source = ask(open_poll(), "  ")
        assert 'aria-invalid="true"' in source and "verdict" not in source

    def test_spaces_and_newlines_are_ignored(self) -> None:
        poll = open_poll()
        (ballot,) = fill(poll, range(1), 1)
        count()
        receipt = receipt_of(ballot)
        assert "Your ballot is part" in ask(poll, f"  {receipt[:40]}\r\n{receipt[40:]} ")

    def test_a_receipt_of_another_poll(self) -> None:
        poll, other = open_poll(), open_poll()
        (ballot,) = fill(other, range(1), 1)
        count()
        source = ask(poll, receipt_of(ballot))
        assert "It belongs to another poll" in source and f"/p/{other.code}/" in source

    def test_a_receipt_of_an_earlier_round(self) -> None:
        poll = open_poll()
        (ballot,) = fill(poll, range(1), 1)
        count()
        poll = lifecycle.reset_poll(poll.pk)
        assert "It belongs to round 1 of this poll." in ask(poll, receipt_of(ballot))


def test_the_page_never_shows_marks() -> None:
    poll = open_poll(results_visible="staff")
    one, other = fill(poll, range(1), 1)[0], fill(poll, range(1, 2), 2)[0]
    count()
    pages = [ask(poll, receipt_of(ballot)).replace(receipt_of(ballot), "") for ballot in (one, other)]
    assert pages[0] == pages[1]


def test_the_texts_of_a_draft_are_hidden() -> None:
    poll = make_poll(question="Premature?")
    assert "Premature" not in ask(poll, "x")
    assert "Premature" not in Client().get(page_of(poll)).content.decode()


def test_receipts_are_not_logged(caplog: Any) -> None:
    poll = open_poll()
    (ballot,) = fill(poll, range(1), 1)
    with caplog.at_level(logging.DEBUG):
        ask(poll, receipt_of(ballot))
        ask(poll, "x" * 72)
    assert receipt_of(ballot) not in caplog.text and "x" * 72 not in caplog.text


def test_the_bundle_is_linked_once_it_exists() -> None:
    poll, _ = published()
    assert "no published list" in Client().get(page_of(poll)).content.decode()
    bundle_of(poll)
    source = Client().get(page_of(poll)).content.decode()
    assert f"/api/v1/polls/{poll.code}/audit/" in source and "verify.py" in source
    key = Client().get("/api/v1/audit-key/").json()["fingerprint"]
    assert key in source.replace(" ", "")


def test_the_bundle_of_a_staff_result_is_not_linked() -> None:
    poll, _ = published(results_visible="staff")
    bundle_of(poll)
    assert "/audit/" not in Client().get(page_of(poll)).content.decode().replace("/static/audit/", "")


def test_page_and_api_agree() -> None:
    poll, (ballot, *_) = published()
    address = f"/api/v1/receipts/{receipt_of(ballot)}/"
    assert Client().get(address).json() == {"status": "counted", "poll": poll.code, "round": 1}
    Ballot.objects.filter(poll_id=poll.pk).update(quarantine_id=1)
    assert Client().get(address).json()["status"] == "quarantined"
