"""Tokens and batches of invites, and the files with their links."""

import csv
import io
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from polls import lifecycle
from polls.errors import IllegalState, PollNotFound
from polls.models import Identity, InviteBatch, Poll, Record, Round
from polls.voters import invites
from polls.voters.identity import invite_key
from polls.voters.invites import Invite
from tests.factories import append, count, make_poll, new_ballot

ONE, TWO = b"1" * 32, b"2" * 32  # secrets of two polls
numbers = st.integers(0, 2**32 - 1)
SITE = "https://vote.example"


# --- tokens ---


@given(poll_id=st.integers(1, 2**63), batch=numbers, serial=numbers)
def test_a_token_round_trips(poll_id: int, batch: int, serial: int) -> None:
    token = invites.make_token(poll_id, ONE, Invite(batch, serial))
    assert len(token) == 32
    assert invites.read_token(token, poll_id, ONE) == (batch, serial)


@given(batch=numbers, serial=numbers, place=st.integers(0, 191))
def test_a_token_with_any_bit_changed_is_invalid(batch: int, serial: int, place: int) -> None:
    """A token can't be turned into one for another batch or serial number."""
    token = invites.make_token(7, ONE, Invite(batch, serial))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    where, bit = divmod(place, 6)
    letter = alphabet[alphabet.index(token[where]) ^ (1 << bit)]
    assert invites.read_token(token[:where] + letter + token[where + 1 :], 7, ONE) is None


@given(one=st.tuples(numbers, numbers), other=st.tuples(numbers, numbers))
def test_a_token_spliced_from_two_is_invalid(one: tuple[int, int], other: tuple[int, int]) -> None:
    """Batch and serial number are the first 8 of 24 bytes. The other bytes are their MAC."""
    if one == other:
        return
    first, second = (invites.make_token(7, ONE, Invite(*each)) for each in (one, other))
    spliced = urlsafe_b64decode(first)[:8] + urlsafe_b64decode(second)[8:]
    assert invites.read_token(urlsafe_b64encode(spliced).decode(), 7, ONE) is None


def test_a_token_is_bound_to_its_poll_and_secrets(settings: Any) -> None:
    token = invites.make_token(7, ONE, Invite(1, 1))
    assert invites.read_token(token, 8, ONE) is None
    assert invites.read_token(token, 7, TWO) is None
    old = settings.SECRET_KEY
    settings.SECRET_KEY = "another"
    assert invites.read_token(token, 7, ONE) is None
    settings.SECRET_KEY_FALLBACKS = ["third", old]
    assert invites.read_token(token, 7, ONE) == (1, 1)


@given(st.text(max_size=40) | st.text("AB-_=+/", min_size=32, max_size=32))
def test_other_text_is_no_token(text: str) -> None:
    assert invites.read_token(text, 7, ONE) is None


# --- batches ---


def invited(open: bool = True, **fields: Any) -> Poll:
    poll = make_poll(identity=Identity.INVITE, **fields)
    return lifecycle.open_poll(poll.pk) if open else poll


@pytest.mark.django_db
def test_a_batch_is_one_row_and_is_in_the_audit_log() -> None:
    batch = invites.make_batch(invited(open=False).pk, 5000, label="Members", by="user anna")
    assert (batch.count, batch.label, batch.made_by) == (5000, "Members", "user anna")
    record = Record.objects.latest("pk")
    assert (record.actor, record.action, record.poll_code) == ("user anna", "invites made", batch.poll.code)
    assert record.detail["count"] == 5000


@pytest.mark.django_db
def test_only_polls_by_invitation_have_invites() -> None:
    with pytest.raises(IllegalState):
        invites.make_batch(make_poll().pk, 1, by="anna")
    with pytest.raises(PollNotFound):
        invites.make_batch(12345, 1, by="anna")
    assert not InviteBatch.objects.exists()


@pytest.mark.django_db
def test_an_invite_outside_its_batch_is_unknown() -> None:
    """A valid MAC is not enough: the batch must be this poll's, and large enough."""
    poll = invited(open=False)
    batch = invites.make_batch(poll.pk, 3, by="anna")
    other = invites.make_batch(invited(open=False).pk, 9, by="anna")
    assert invites.find_batch(poll.pk, Invite(batch.pk, 3)) == batch
    for wrong in (Invite(batch.pk, 4), Invite(batch.pk, 0), Invite(other.pk, 1), Invite(batch.pk, 2**32 - 1)):
        assert invites.find_batch(poll.pk, wrong) is None


@pytest.mark.django_db
def test_a_batch_is_revoked_once() -> None:
    poll = invited(open=False)
    batch = invites.make_batch(poll.pk, 3, by="anna")
    assert not invites.find_batch(poll.pk, Invite(batch.pk, 1)).ended
    assert invites.revoke_batch(batch.pk, by="user bert") is True
    assert invites.revoke_batch(batch.pk, by="user carl") is False
    found = invites.find_batch(poll.pk, Invite(batch.pk, 1))
    assert (found.ended, found.revoked_by) == (True, "user bert")
    assert [record.action for record in Record.objects.order_by("-pk")[:2]] == [
        "invites revoked",
        "invites made",
    ]


@pytest.mark.django_db
def test_a_purge_ends_the_invites_made_before_it() -> None:
    poll = invited()
    batch = invites.make_batch(poll.pk, 3, by="anna")
    Round.objects.filter(poll=poll).update(purged_at=timezone.now() + timedelta(seconds=1))
    found = invites.find_batch(poll.pk, Invite(batch.pk, 1))
    assert (found.erased, found.ended) == (True, True)
    with pytest.raises(IllegalState):
        invites.make_batch(poll.pk, 3, by="anna")


# --- files ---


@pytest.mark.django_db
def test_the_file_has_the_link_of_each_invite() -> None:
    poll = invited(open=False)
    batch = invites.make_batch(poll.pk, 1203, by="anna")
    pieces = list(invites.csv_chunks(batch, SITE))
    assert len(pieces) > 2
    rows = list(csv.reader(io.StringIO("".join(pieces))))
    assert rows[0] == ["serial", "link"]
    assert [int(serial) for serial, _ in rows[1:]] == list(range(1, 1204))
    for serial, link in rows[1:]:
        page, token = link.split("#i=")
        assert page == f"{SITE}/p/{poll.code}/"
        assert invites.read_token(token, poll.pk, bytes(poll.secret)) == (batch.pk, int(serial))
    assert "".join(invites.csv_chunks(batch, SITE)) == "".join(pieces)  # downloads are repeatable


@pytest.mark.django_db(transaction=True)
def test_used_invites_are_counted_by_batch_and_round() -> None:
    poll = invited()
    first, second = (invites.make_batch(poll.pk, size, by="anna") for size in (2500, 10))
    secret = poll.voter_secret()

    def ballot(batch: InviteBatch, serial: int) -> Any:
        return replace(new_ballot(poll, 0, 1), voter_key=invite_key(secret, batch.pk, serial))

    append(
        *(ballot(first, serial) for serial in (1, 2000, 2001, 2500)),
        ballot(second, 1),
        new_ballot(poll, 5, 1),
    )
    assert invites.count_used(first) == 0
    count()
    assert (invites.count_used(first), invites.count_used(second)) == (4, 1)
    lifecycle.reset_poll(poll.pk)
    first.refresh_from_db()
    assert invites.count_used(InviteBatch.objects.get(pk=first.pk)) == 0
