"""Quarantine over REST: with a key that may run polls, and with nothing said that the tally doesn't show."""

import pytest
from django.utils import timezone

from analytics.models import Quarantine
from polls.models import ApiClient, Poll
from polls.receipts import make_receipt
from tests.polling import check_books, count, fill, open_poll
from tests.polls.rest import POLLS, Caller, make_key, refusal

pytestmark = pytest.mark.django_db


@pytest.fixture
def call() -> Caller:
    return Caller(make_key("polls:write"))


def place(poll: Poll) -> str:
    return f"{POLLS}{poll.code}/quarantines/"


def receipts(poll: Poll, voters: range) -> list[str]:
    ballots = fill(poll, voters, 1)
    count()
    return [make_receipt(poll.pk, poll.round, each.voter_key, each.ballot_id) for each in ballots]


def test_ballots_are_set_aside_and_released(call: Caller) -> None:
    poll = open_poll()
    given = receipts(poll, range(5))
    answer = call("POST", place(poll), {"reason": "Sold votes", "receipts": [*given[:2], "nonsense"]})
    assert answer.status_code == 201
    document = answer.json()
    assert {name: document[name] for name in ("ballots", "already", "not_counted", "unknown")} == {
        "ballots": 2, "already": 0, "not_counted": 0, "unknown": 1,
    }  # fmt: skip
    client = ApiClient.objects.get()
    made = document["quarantine"]
    assert (made["reason"], made["standing"]) == ("Sold votes", False)
    assert made["decided_by"] == f"API client {client.prefix} third party"
    tally = call("GET", f"{POLLS}{poll.code}/tally/").json()
    assert (tally["ballots"], tally["quarantined"]["ballots"]) == (3, 2)
    assert [row["id"] for row in call("GET", place(poll)).json()] == [made["id"]]
    released = call("POST", f"{place(poll)}{made['id']}/release/").json()
    assert released["released_by"] == made["decided_by"]
    assert check_books(poll)[1, "ballots"] == 5


def test_nothing_to_set_aside_makes_no_decision(call: Caller) -> None:
    poll = open_poll()
    answer = call("POST", place(poll), {"reason": "Sold votes", "receipts": ["nonsense"]})
    assert (answer.status_code, answer.json()["quarantine"], answer.json()["unknown"]) == (200, None, 1)
    assert not Quarantine.objects.exists()


def test_everything_from_now_on(call: Caller) -> None:
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
def test_what_is_neither_one_nor_the_other_is_refused(call: Caller, body: dict[str, object]) -> None:
    assert refusal(call("POST", place(open_poll()), body)) == (400, "malformed")
    assert not Quarantine.objects.exists()


def test_a_member_that_comes_twice_is_refused(call: Caller) -> None:
    body = b'{"reason": "A bot", "from_now_on": false, "from_now_on": true}'
    assert refusal(call("POST", place(open_poll()), body)) == (400, "malformed")


def test_its_times_are_in_utc_whatever_the_zone(call: Caller) -> None:
    with timezone.override("Europe/Berlin"):
        made = call("POST", place(open_poll()), {"reason": "A bot", "from_now_on": True}).json()["quarantine"]
    assert made["decided_at"].endswith("Z")


def test_who_may_do_it() -> None:
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
