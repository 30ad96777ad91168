"""A receipt proves that a ballot was accepted, and says nothing about the selection."""

from typing import Any

import pytest

from analytics.counting import dead_letters
from polls import lifecycle
from polls.casting.receipts import ReceiptContents, make_receipt, open_receipt, receipt_status
from polls.errors import ReceiptNotFound
from polls.models import DeadLetter, Round
from polls.votelog.admission import NewBallot
from tests.factories import append, count, fill, new_ballot, open_poll

VOTER, BALLOT = b"v" * 16, b"b" * 16


def test_a_receipt_decrypts_to_its_content() -> None:
    for poll_id, round_ in [(1, 1), (2**32 - 1, 65_535)]:
        receipt = make_receipt(poll_id, round_, VOTER, BALLOT)
        assert open_receipt(receipt) == ReceiptContents(poll_id, round_, VOTER, BALLOT)


def test_each_ballot_has_one_receipt_of_its_own() -> None:
    assert make_receipt(1, 1, VOTER, BALLOT) == make_receipt(1, 1, VOTER, BALLOT)
    others = [
        (2, 1, VOTER, BALLOT),
        (1, 2, VOTER, BALLOT),
        (1, 1, b"w" * 16, BALLOT),
        (1, 1, VOTER, b"c" * 16),
    ]
    receipts = {make_receipt(*each) for each in [(1, 1, VOTER, BALLOT), *others]}
    assert len(receipts) == 5
    assert {len(receipt) for receipt in receipts} == {72}
    # Receipts have no common part, so neither poll nor voter can be recognised.
    assert len({receipt[:8] for receipt in receipts} | {receipt[-8:] for receipt in receipts}) == 10


def test_a_changed_receipt_is_not_found() -> None:
    receipt = make_receipt(1, 1, VOTER, BALLOT)
    for place in range(len(receipt)):
        other = "A" if receipt[place] != "A" else "B"
        with pytest.raises(ReceiptNotFound):
            open_receipt(receipt[:place] + other + receipt[place + 1 :])


@pytest.mark.parametrize("text", ["", "x", "A" * 72, "=" * 72, "ü" * 72, "A" * 71, "A" * 73, "!" * 72])
def test_any_other_text_is_not_found(text: str) -> None:
    with pytest.raises(ReceiptNotFound):
        open_receipt(text)


def test_receipts_of_an_earlier_secret_stay_valid(settings: Any) -> None:
    receipt = make_receipt(1, 1, VOTER, BALLOT)
    old = settings.SECRET_KEY
    settings.SECRET_KEY = "another"
    with pytest.raises(ReceiptNotFound):
        open_receipt(receipt)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert open_receipt(receipt) == ReceiptContents(1, 1, VOTER, BALLOT)


def status(ballot: NewBallot) -> object:
    receipt = make_receipt(ballot.poll_id, ballot.round or 1, ballot.voter_key, ballot.ballot_id)
    return receipt_status(receipt)["status"]


@pytest.mark.django_db
@pytest.mark.usefixtures("each_log")
class TestStatus:
    def test_accepted_then_counted_then_replaced(self) -> None:
        poll = open_poll(revote=True)
        (first,) = fill(poll, range(1), 1)
        assert status(first) == "accepted"
        count()
        assert status(first) == "counted"
        second = new_ballot(poll, 0, 2, replaces=first.ballot_id)
        append(second)
        # The second one isn't counted yet.
        assert (status(first), status(second)) == ("counted", "accepted")
        count()
        assert (status(first), status(second)) == ("replaced", "counted")

    def test_replaced_before_it_was_ever_counted(self) -> None:
        poll = open_poll(revote=True)
        (first,) = fill(poll, range(1), 1)
        append(new_ballot(poll, 0, 2, replaces=first.ballot_id))
        assert status(first) == "replaced"

    def test_a_ballot_of_an_earlier_round_keeps_its_status(self) -> None:
        poll = open_poll()
        (ballot,) = fill(poll, range(1), 1)
        poll = lifecycle.reset_poll(poll.pk)
        assert status(ballot) == "accepted"
        count()
        assert status(ballot) == "counted"

    def test_dead_letter_then_rejected(self) -> None:
        poll = open_poll()
        append(ballot := new_ballot(poll, 0, 77))
        count()
        assert status(ballot) == "accepted"
        dead_letters.reject_letter(DeadLetter.objects.get().pk, by="anna")
        assert status(ballot) == "rejected"

    def test_dead_letter_then_counted_then_replaced(self) -> None:
        poll = open_poll(revote=True)
        append(ballot := new_ballot(poll, 0, 77))
        count()
        rules = Round.objects.get(poll=poll)
        rules.rules["numbers"].append(77)
        rules.save()
        dead_letters.count_letter(DeadLetter.objects.get().pk, by="anna")
        assert status(ballot) == "counted"
        append(new_ballot(poll, 0, 1, replaces=ballot.ballot_id))
        count()
        assert status(ballot) == "replaced"

    def test_a_receipt_without_a_ballot_is_not_found(self) -> None:
        """The receipt is authentic, but its ballot is neither in the log nor counted."""
        poll = open_poll()
        with pytest.raises(ReceiptNotFound):
            status(new_ballot(poll, 0, 1))

    def test_a_receipt_without_a_poll_is_not_found(self) -> None:
        with pytest.raises(ReceiptNotFound):
            receipt_status(make_receipt(999_999, 1, VOTER, BALLOT))

    def test_it_names_poll_and_round_and_no_selection(self) -> None:
        poll = open_poll()
        (ballot,) = fill(poll, range(1), 1)
        receipt = make_receipt(poll.pk, 1, ballot.voter_key, ballot.ballot_id)
        assert receipt_status(receipt) == {"status": "accepted", "poll": poll.code, "round": 1}
