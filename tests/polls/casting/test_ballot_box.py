"""Casting a ballot, on every lane."""

import uuid
from collections import Counter
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection

from analytics.models import Checkpoint
from polls import lifecycle, votelog
from polls.casting import ballot_box, log_writer
from polls.casting.cast import cast_and_wait
from polls.models import Ballot, Choice
from polls.voters import identity, poll_rules
from tests.factories import cast, check_books, count, make_poll, open_poll, request
from tests.polls.casting.refusals import PAGE, SECOND_BALLOT, changed, refused
from tests.threads import at_once


@pytest.fixture(autouse=True)
def _no_rules_kept() -> None:
    poll_rules.clear_cache()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("each_log")
class TestCasting:
    def test_a_ballot_is_accepted_and_counted(self) -> None:
        poll = open_poll()
        status, document = cast(poll, [2])
        assert status == 202
        assert set(document) == {"ballot_id", "receipt", "status"}
        assert document["status"] == "accepted"
        assert uuid.UUID(document["ballot_id"]).version == 4
        count()
        assert check_books(poll) == {(1, "ballots"): 1, (1, "2"): 1}

    def test_our_own_and_trusted_origins_may_vote(self, settings: Any) -> None:
        settings.TRUSTED_ORIGINS = ["https://trusted.example"]
        poll, content_type = open_poll(), "Application/JSON;charset=utf-8"
        for origin in (None, PAGE, "HTTP://TestServer", "https://trusted.example"):
            asked = changed(request(poll, [1]), origin=origin, content_type=content_type)
            assert cast_and_wait(asked).status == 202

    def test_a_retry_gets_the_same_receipt_even_after_closing_and_reset(self) -> None:
        poll, cookie = open_poll(), identity.new_cookie()
        body = {"ballot_id": str(uuid.uuid4()), "round": 1}
        first = cast(poll, [2], cookie, **body)
        assert first[0] == 202
        assert cast(poll, [2], cookie, **body) == first
        lifecycle.close_poll(poll.pk)
        assert cast(poll, [2], cookie, **body) == first
        count()
        lifecycle.reset_poll(poll.pk)
        assert cast(poll, [2], cookie, **body) == first
        assert cast(poll, [1], cookie, **body)[1]["code"] == "ballot_id_reused"

    def test_each_refusal_of_the_log_has_its_error(self) -> None:
        poll, cookie = make_poll(), identity.new_cookie()
        assert refused(request(poll, [1], cookie)) == (409, "poll_not_open")
        lifecycle.open_poll(poll.pk)
        _, document = cast(poll, [1], cookie)
        same = {"ballot_id": document["ballot_id"]}
        assert refused(request(poll, [2], cookie, **same)) == (422, "ballot_id_reused")
        assert refused(request(poll, [2], cookie)) == (409, "already_voted")
        assert refused(request(poll, [2], round=2)) == (409, "round_changed")
        lifecycle.close_poll(poll.pk)
        assert refused(request(poll, [2])) == (409, "poll_not_open")

    def test_a_refused_second_ballot_reveals_nothing_about_the_first(self) -> None:
        poll, cookie = open_poll(), identity.new_cookie()
        _, first = cast(poll, [3], cookie)
        answer = cast_and_wait(request(poll, [2], cookie, **SECOND_BALLOT))
        assert first["ballot_id"].encode() not in answer.body
        assert first["receipt"].encode() not in answer.body

    def test_voters_can_change_their_ballot_if_the_poll_allows_it(self) -> None:
        poll, cookie = open_poll(revote=True), identity.new_cookie()
        _, first = cast(poll, [1], cookie)
        status, second = cast(poll, [3], cookie, replaces=first["ballot_id"])
        assert status == 202
        rule = poll_rules.get_rules(poll.code)
        token = identity.read_cookie(cookie)
        assert token
        key = identity.browser_key(rule.voter_secret, token)
        assert ballot_box.current_ballot(rule, key) == uuid.UUID(second["ballot_id"]).bytes
        count()
        assert check_books(poll) == {(1, "ballots"): 1, (1, "3"): 1}

    def test_the_order_of_marks_does_not_matter(self) -> None:
        poll, cookie = open_poll(method="multiple", max_selections=3), identity.new_cookie()
        first = cast(poll, [3, 1], cookie, **SECOND_BALLOT)
        assert first[0] == 202
        assert cast(poll, [1, 3], cookie, **SECOND_BALLOT) == first
        count()
        assert Ballot.objects.get().selection == "1,3"

    def test_copies_of_a_ballot_at_once_count_once(self) -> None:
        poll, cookie = open_poll(), identity.new_cookie()
        answers = at_once(lambda _: cast(poll, [1], cookie, **SECOND_BALLOT), range(200), threads=40)
        assert all(answer == answers[0] for answer in answers)
        assert answers[0][0] == 202
        count()
        assert check_books(poll) == {(1, "ballots"): 1, (1, "1"): 1}

    def test_voters_in_two_windows_at_once_vote_once(self) -> None:
        poll = open_poll()
        cookies = [identity.new_cookie() for _ in range(50)]
        answers = at_once(lambda cookie: cast(poll, [1], cookie), [*cookies, *cookies], threads=20)
        codes = Counter(document.get("code", document["status"]) for _, document in answers)
        assert codes == {"accepted": 50, "already_voted": 50}
        count()
        assert check_books(poll) == {(1, "ballots"): 50, (1, "1"): 50}

    def test_cached_rules_refuse_nothing_after_a_reset(self) -> None:
        poll = open_poll(choices=2)
        kept = poll_rules.get_rules(poll.code)
        lifecycle.reset_poll(poll.pk)
        Choice.objects.create(poll=poll, number=3, label="New")
        Choice.objects.filter(poll=poll, number=1).delete()
        lifecycle.open_poll(poll.pk)

        def keep_old() -> None:
            """Cache the old rules again, like another process that doesn't know of the reset."""
            poll_rules._cache[poll.code] = (poll_rules.time.monotonic(), kept)

        keep_old()
        assert cast(poll, [3])[0] == 202
        keep_old()
        assert cast(poll, [3], round=2)[0] == 202
        keep_old()
        assert refused(request(poll, [1], round=2)) == (400, "invalid_selection")

    def test_a_retry_settles_an_unknown_outcome(self, monkeypatch: pytest.MonkeyPatch) -> None:
        poll, log = open_poll(), votelog.get_log()
        write = log.append
        for failure in (OperationalError("away"), redis.ConnectionError("away"), RuntimeError("bug")):
            cookie = identity.new_cookie()

            def lose_the_answer(*args: Any, failure: Exception = failure) -> Any:
                write(*args)
                raise failure

            with monkeypatch.context() as patch:
                patch.setattr(log, "append", lose_the_answer)
                asked = request(poll, [1], cookie, **SECOND_BALLOT)
                assert refused(asked) == (503, "outcome_unknown")
            assert cast(poll, [1], cookie, **SECOND_BALLOT)[0] == 202
        count()
        assert check_books(poll) == {(1, "ballots"): 3, (1, "1"): 3}

    def test_a_waiting_cast_holds_no_database_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Otherwise waiting casts could use up the pool, and the append would never get a connection."""
        poll, held = open_poll(), []
        wait_for = log_writer._wait_for

        def look(future: Any) -> Any:
            held.append(connection.connection)
            return wait_for(future)

        monkeypatch.setattr(log_writer, "_wait_for", look)
        assert cast(poll, [1])[0] == 202
        assert held == [None]

    def test_a_log_that_lost_ballots_accepts_no_more(self) -> None:
        poll = open_poll()
        assert cast(poll, [1])[0] == 202
        Checkpoint.objects.update(position=1_000_000)
        votelog.expected_heads(max_age=0)
        assert refused(request(poll, [1])) == (503, "log_inconsistent")

    def test_a_log_other_than_that_of_the_settings_accepts_nothing(self) -> None:
        poll = open_poll()
        Checkpoint.objects.update(log="kafka")
        votelog.forget_log()
        assert refused(request(poll, [1])) == (503, "log_inconsistent")
