"""Quarantine over the REST API: it needs a key with polls:write, and shows no figure that the tally hides."""

from typing import Any

import pytest
from django.utils import timezone

from analytics.models import Quarantine
from polls.casting.receipts import make_receipt
from polls.models import ApiClient, Poll
from tests.analytics.audit_bundles import close
from tests.factories import append, check_books, count, fill, new_ballot, open_poll
from tests.polls.api_client import POLLS, Caller, make_key, refusal

pytestmark = pytest.mark.django_db


@pytest.fixture
def call() -> Caller:
    return Caller(make_key("polls:write"))


def place(poll: Poll) -> str:
    return f"{POLLS}{poll.code}/quarantines/"


def test_new_ballots_are_quarantined_and_released(call: Caller, pauses: Any) -> None:
    poll = open_poll()
    answer = call("POST", place(poll), {"reason": "A bot", "from_now_on": True})
    assert answer.status_code == 201
    document = answer.json()
    client = ApiClient.objects.get()
    made = document["quarantine"]
    assert (made["reason"], made["standing"], document["ballots"]) == ("A bot", True, 0)
    assert made["decided_by"] == f"API client {client.prefix} third party"
    pauses()
    fill(poll, range(12), 1)
    count()
    tally = call("GET", f"{POLLS}{poll.code}/tally/").json()
    assert (tally["ballots"], tally["quarantined"]["ballots"]) == (0, 12)
    assert [row["id"] for row in call("GET", place(poll)).json()] == [made["id"]]
    released = call("POST", f"{place(poll)}{made['id']}/release/").json()
    assert released["released_by"] == made["decided_by"]
    assert check_books(poll)[1, "ballots"] == 12


def test_only_staff_can_quarantine_ballots_by_their_receipts(call: Caller) -> None:
    poll = open_poll()
    ballots = fill(poll, range(20), 1)
    count()
    given = [make_receipt(poll.pk, poll.round, each.voter_key, each.ballot_id) for each in ballots[:10]]
    refused = call("POST", place(poll), {"reason": "Sold votes", "receipts": given})
    assert refusal(refused) == (403, "person_required")
    assert not Quarantine.objects.exists()


def test_few_ballots_cannot_be_released_into_a_result(call: Caller) -> None:
    poll = open_poll()
    append(new_ballot(poll, 1, 1, quarantine_rule="over_limit"))
    close(poll)
    decision = Quarantine.objects.get()
    assert refusal(call("POST", f"{place(poll)}{decision.pk}/release/")) == (409, "too_few_ballots")


def test_a_standing_quarantine_can_be_ended_once(call: Caller) -> None:
    poll = open_poll()
    made = call("POST", place(poll), {"reason": "A bot", "from_now_on": True}).json()["quarantine"]
    assert made["standing"]
    assert not call("POST", f"{place(poll)}{made['id']}/end/").json()["standing"]
    assert refusal(call("POST", f"{place(poll)}{made['id']}/end/")) == (409, "illegal_state")


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "A bot"},
        {"reason": "A bot", "receipts": [], "from_now_on": True},
        {"reason": "A bot", "receipts": ["a"], "from_now_on": True},
        {"reason": "", "from_now_on": True},
        {"reason": "A bot", "since": 1},
    ],
)
def test_an_invalid_body_is_malformed(call: Caller, body: dict[str, object]) -> None:
    assert refusal(call("POST", place(open_poll()), body)) == (400, "malformed")
    assert not Quarantine.objects.exists()


def test_a_duplicate_member_is_refused(call: Caller) -> None:
    body = b'{"reason": "A bot", "from_now_on": false, "from_now_on": true}'
    assert refusal(call("POST", place(open_poll()), body)) == (400, "malformed")


def test_times_are_in_utc_in_every_time_zone(call: Caller) -> None:
    with timezone.override("Europe/Berlin"):
        made = call("POST", place(open_poll()), {"reason": "A bot", "from_now_on": True}).json()["quarantine"]
    assert made["decided_at"].endswith("Z")


def test_a_quarantine_needs_a_key_with_the_write_scope() -> None:
    poll = open_poll()
    body = {"reason": "A bot", "from_now_on": True}
    assert refusal(Caller()("POST", place(poll), body)) == (401, "invalid_key")
    reader = Caller(make_key("polls:read", "ballots:write"))
    assert refusal(reader("POST", place(poll), body)) == (403, "missing_scope")
    assert reader("GET", place(poll)).status_code == 200


def test_a_quarantine_of_another_poll_is_not_found(call: Caller) -> None:
    poll, other = open_poll(), open_poll()
    made = call("POST", place(poll), {"reason": "A bot", "from_now_on": True}).json()["quarantine"]
    wrong = f"{place(other)}{made['id']}/release/"
    assert refusal(call("POST", wrong)) == (404, "quarantine_not_found")
    assert refusal(call("POST", f"{place(poll)}999999/end/")) == (404, "quarantine_not_found")
    assert refusal(call("POST", f"{POLLS}NOSUCH/quarantines/", {"reason": "x"})) == (404, "poll_not_found")
