"""The admin's switch for proofs of work, on the page of an open poll."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from polls.models import Poll, ProofOfWork, Record
from tests.admins import staff
from tests.factories import make_poll, open_poll

pytestmark = pytest.mark.django_db


def switch(client: Client, poll: Poll, policy: str) -> int:
    """Press a button of the switch, which submits the form."""
    form = {"results_visible": "always", "venue_networks": "10.1.0.0/16", "over_limit": "refuse"}
    return client.post(f"/admin/polls/poll/{poll.pk}/change/", form | {"_proof": policy}).status_code


def panel(client: Client, poll: Poll) -> str:
    return client.get(f"/admin/polls/poll/{poll.pk}/panel/").content.decode()


def test_a_suspicion_is_explained_and_can_be_ended() -> None:
    poll, client = open_poll(), staff("view_poll", "change_poll")
    assert "End it now" not in panel(client, poll)
    Poll.objects.filter(pk=poll.pk).update(proof_until=timezone.now() + timedelta(minutes=9))
    shown = panel(client, poll)
    assert "Proof of work is on until" in shown
    assert "sent too many ballots" in shown
    assert switch(client, poll, "auto") == 302
    assert "End it now" not in panel(client, poll)


@pytest.mark.parametrize("policy", ["on", "off", "auto"])
def test_the_policy_can_be_set_while_the_poll_is_open(policy: str) -> None:
    poll, client = open_poll(proof_of_work=ProofOfWork.AUTO), staff("view_poll", "change_poll")
    switch(client, poll, policy)
    poll.refresh_from_db()
    assert poll.proof_of_work == policy
    assert poll.venue_networks == ["10.1.0.0/16"]  # changed in the form, and saved with it
    row = Record.objects.filter(poll_code=poll.code).order_by("pk").last()
    assert row is not None
    assert (row.actor, row.detail) == ("user colleague", {"proof_of_work": policy})
    assert f'value="{policy}" aria-pressed="true"' in panel(client, poll)


def test_view_only_staff_cannot_switch_proof_of_work() -> None:
    poll, client = open_poll(), staff("view_poll")
    assert "aria-pressed" not in panel(client, poll)
    assert switch(client, poll, "off") == 403
    poll.refresh_from_db()
    assert poll.proof_of_work == ProofOfWork.AUTO


def test_an_unknown_policy_changes_nothing() -> None:
    poll, client = open_poll(), staff("view_poll", "change_poll")
    switch(client, poll, "maybe")
    poll.refresh_from_db()
    assert poll.proof_of_work == ProofOfWork.AUTO


def test_a_draft_has_no_switch() -> None:
    assert "aria-pressed" not in panel(staff("view_poll", "change_poll"), make_poll())
