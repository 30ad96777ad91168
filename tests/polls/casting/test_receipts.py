"""A receipt proves that a ballot was accepted, and says nothing about the selection."""

import uuid
from importlib import import_module
from typing import Any

import pytest

from analytics.counting import dead_letters
from polls import lifecycle
from polls.casting.receipts import ReceiptContents, make_receipt, open_receipt, receipt_status
from polls.errors import ReceiptNotFound
from polls.models import DeadLetter, Poll, ReceiptFormat, Round
from polls.votelog.admission import NewBallot
from polls.voters import identity
from polls.voters.poll_rules import clear_cache
from tests.analytics.audit_bundles import bundle_of, close, content_of
from tests.factories import append, cast, count, fill, new_ballot, open_poll
from tests.polls.api_client import Caller

VOTER, BALLOT = b"v" * 16, b"b" * 16


def test_a_receipt_decrypts_to_its_content() -> None:
    for poll_id, round_ in [(1, 1), (2**32 - 1, 65_535)]:
        receipt = make_receipt(poll_id, round_, VOTER, BALLOT)
        assert open_receipt(receipt) == ReceiptContents(poll_id, round_, VOTER, BALLOT)


#: Made by the version before AES-SIV, with SECRET_KEY=One.
BLAKE2_RECEIPTS = {
    "RIHRua1vHKZrORUSYJhKOjlQcnJ8yvExWEM8xFRHYazJnfpd8J3_ZpYoRkh4CgezXJT1asl7": (1, 1, VOTER, BALLOT),
    "2wRV_1WgZqqK6iwnpVeCuvA3IG0qwwqBCy_aKYgIIJt2hvX0JWhn3or5MTxEXOemTp05nKw9": (
        *(2**32 - 1, 65_535, bytes(range(16)), bytes(range(16, 32))),
    ),
    "ivJkoDMKpPZkpODhnug6vGZdiBlJ7mMLLLQ7hi_Gpg21egfVNfBoQWhaHxoGyTyzGbPf36Ve": (
        *(700, 3, b"\0" * 16, b"\xff" * 16),
    ),
}


def test_receipts_of_earlier_versions_can_be_read_and_made(settings: Any) -> None:
    settings.SECRET_KEY = "One"
    for receipt, contents in BLAKE2_RECEIPTS.items():
        assert open_receipt(receipt) == ReceiptContents(*contents)
        assert make_receipt(*contents, ReceiptFormat.BLAKE2_SIV) == receipt
        assert make_receipt(*contents) != receipt


def test_a_receipt_is_the_same_in_every_later_version(settings: Any) -> None:
    settings.SECRET_KEY = "One"
    receipt = "k9-GGdGaFuLGfiGlNnA7Vf74h8RqXpkDl8o8TvyECuHKviB23MacmMEfrJxitvPR736eSOxS"
    assert make_receipt(1, 1, VOTER, BALLOT) == receipt
    assert open_receipt(receipt) == ReceiptContents(1, 1, VOTER, BALLOT)


def test_the_migration_keeps_the_format_of_existing_polls() -> None:
    steps = import_module("polls.migrations.0018_receipt_format").Migration.operations
    formats = [step.field.default for step in steps]
    assert formats == [ReceiptFormat.BLAKE2_SIV, Poll._meta.get_field("receipt_format").default]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("each_log")
def test_a_poll_of_an_earlier_version_keeps_its_receipts() -> None:
    """After the upgrade, a retry, the voter's page and a later bundle still have the old receipt."""
    poll = open_poll()
    Poll.objects.update(receipt_format=ReceiptFormat.BLAKE2_SIV)
    clear_cache()
    cookie, ballot_id = identity.new_cookie(), uuid.uuid4()
    token = identity.read_cookie(cookie)
    assert token is not None
    voter_key = identity.browser_key(poll.voter_secret(), token)
    receipt = make_receipt(poll.pk, 1, voter_key, ballot_id.bytes, ReceiptFormat.BLAKE2_SIV)
    for _ in range(2):
        assert cast(poll, [1], cookie, ballot_id=str(ballot_id))[1]["receipt"] == receipt
    call = Caller()
    call.client.cookies[identity.COOKIE] = cookie
    assert call("GET", f"/api/v1/polls/{poll.code}/voter/").json()["receipt"] == receipt
    poll = lifecycle.publish_poll(close(poll).pk)
    assert receipt_status(receipt)["status"] == "counted"
    assert content_of(bundle_of(poll))["receipts.txt"].decode() == f"{receipt}\n"
    lifecycle.reset_poll(poll.pk)
    poll = lifecycle.open_poll(poll.pk)
    later = uuid.uuid4()
    accepted = cast(poll, [1], cookie, ballot_id=str(later))[1]["receipt"]
    assert accepted == make_receipt(
        poll.pk, 2, open_receipt(accepted).voter_key, later.bytes, poll.receipt_format
    )


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
        # The second ballot isn't counted yet.
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

    def test_the_status_has_poll_and_round_but_no_selection(self) -> None:
        poll = open_poll()
        (ballot,) = fill(poll, range(1), 1)
        receipt = make_receipt(poll.pk, 1, ballot.voter_key, ballot.ballot_id)
        assert receipt_status(receipt) == {"status": "accepted", "poll": poll.code, "round": 1}
