"""Batches of an API client: an outcome for each ballot, in the order sent."""

import json
import uuid
from typing import Any

import pytest
from django.db import OperationalError

from polls import votelog
from polls.casting import batch
from polls.models import ApiClient, Poll
from polls.votelog.admission import Outcome
from polls.voters import poll_rules
from tests.factories import cast, check_books, count, open_poll, request
from tests.polls.casting.refusals import SECOND_BALLOT, changed


@pytest.fixture(autouse=True)
def _no_rules_kept() -> None:
    poll_rules.clear_cache()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("each_log")
class TestBatches:
    @pytest.fixture
    def key(self) -> str:
        return ApiClient.objects.create_key(name="Stage", scopes=["ballots:write"])[1]

    def send(self, poll: Poll, key: str, ballots: list[Any]) -> list[dict[str, Any]]:
        body = json.dumps({"ballots": ballots}).encode()
        asked = changed(request(poll, []), body=body, cookie=None, authorization=f"Api-Key {key}")
        answer = batch.cast_batch(asked)
        assert answer.status == 200
        outcomes: list[dict[str, Any]] = json.loads(answer.body)["outcomes"]
        assert [outcome["index"] for outcome in outcomes] == list(range(len(ballots)))
        return outcomes

    def test_outcomes_come_in_the_order_sent(self, key: str) -> None:
        poll = open_poll()
        outcomes = self.send(
            poll,
            key,
            [
                {"selections": [1], "voter": "anna"},
                {"selections": [9], "voter": "bert"},
                "no ballot",
                {"selections": [2], "voter": "anna"},
                {"selections": [2]},
                {"selections": [2], "voter": "carl", "round": 2},
                {"selections": [2], "voter": "carl", **SECOND_BALLOT},
                {"selections": [2], "voter": "carl", **SECOND_BALLOT},
                {"selections": [3], "voter": "carl", **SECOND_BALLOT},
            ],
        )
        assert [outcome.get("code", outcome.get("status")) for outcome in outcomes] == [
            *("accepted", "invalid_selection", "malformed", "already_voted", "malformed", "round_changed"),
            *("accepted", "accepted", "ballot_id_reused"),
        ]
        assert outcomes[6]["receipt"] == outcomes[7]["receipt"]
        assert all(set(outcome) == {"index", "code", "detail"} for outcome in outcomes if "code" in outcome)
        count()
        assert check_books(poll) == {(1, "ballots"): 2, (1, "1"): 1, (1, "2"): 1}

    def test_an_empty_batch_has_no_outcomes(self, key: str) -> None:
        assert self.send(open_poll(), key, []) == []

    def test_a_batch_may_be_larger_than_an_append(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batch, "MAX_APPEND_BALLOTS", 40)
        poll = open_poll()
        outcomes = self.send(
            poll, key, [{"selections": [1 + n % 3], "voter": str(n % 90)} for n in range(100)]
        )
        codes = [outcome.get("code", outcome.get("status")) for outcome in outcomes]
        assert codes == ["accepted"] * 90 + ["already_voted"] * 10
        count()
        assert check_books(poll)[1, "ballots"] == 90

    def test_clients_have_separate_voters(self, key: str) -> None:
        poll = open_poll()
        _, other = ApiClient.objects.create_key(name="Foyer", scopes=["ballots:write"])
        for each in (key, other):
            assert self.send(poll, each, [{"selections": [1], "voter": "anna"}])[0]["status"] == "accepted"
        status, document = cast(poll, [1])
        assert (status, document["status"]) == (202, "accepted")
        count()
        assert check_books(poll)[1, "ballots"] == 3

    def test_each_outcome_is_about_its_own_ballot_only(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        poll, log = open_poll(), votelog.get_log()
        write, refusals = log.append, ["overloaded", "outcome_unknown", "unavailable", "log_inconsistent"]

        def fail_in_part(ballots: Any, expected: Any) -> Any:
            """Every second ballot belongs to a partition that fails."""
            outcomes: list[Outcome] = []
            for index, outcome in enumerate(write(ballots[::2], expected)):
                outcomes += (outcome, Outcome(refusals[index]))
            return outcomes

        monkeypatch.setattr(log, "append", fail_in_part)
        outcomes = self.send(poll, key, [{"selections": [1], "voter": str(n)} for n in range(8)])
        told = [outcome.get("code", outcome.get("status")) for outcome in outcomes]
        assert told == [word for refusal in refusals for word in ("accepted", refusal)]
        count()
        assert check_books(poll)[1, "ballots"] == 4

    def test_a_chunk_that_fails_is_reported_apart_from_the_others(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batch, "MAX_APPEND_BALLOTS", 2)
        poll, log = open_poll(), votelog.get_log()
        write, calls = log.append, iter([True, False, True])

        def fail_once(*args: Any) -> Any:
            if next(calls, True):
                return write(*args)
            raise OperationalError("away")

        ballots = [{"selections": [1], "voter": str(n), "ballot_id": str(uuid.uuid4())} for n in range(6)]
        with monkeypatch.context() as patch:
            patch.setattr(log, "append", fail_once)
            outcomes = self.send(poll, key, ballots)
        assert [outcome.get("code", outcome.get("status")) for outcome in outcomes] == [
            *("accepted", "accepted", "outcome_unknown", "outcome_unknown", "accepted", "accepted"),
        ]
        again = self.send(poll, key, ballots)
        assert {outcome["status"] for outcome in again} == {"accepted"}
        count()
        assert check_books(poll)[1, "ballots"] == 6
