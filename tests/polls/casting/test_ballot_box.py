"""The one way in: what comes in and what is answered, whatever lane is in front."""

import json
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis
from django.db import OperationalError, connection

from analytics.models import Checkpoint
from polls import lifecycle, votelog
from polls.casting import ballot_box, batch, log_writer
from polls.casting.request import CastRequest
from polls.models import ApiClient, Ballot, Choice, Poll
from polls.votelog.admission import Outcome
from polls.voters import identity, poll_rules
from tests.polling import cast, check_books, count, make_poll, open_poll, request
from tests.threads import at_once

PAGE = "http://testserver"
SECOND_BALLOT = {"ballot_id": "00000000-0000-4000-8000-000000000002"}


@pytest.fixture(autouse=True)
def _no_rules_kept() -> None:
    poll_rules.clear_cache()


def changed(asked: CastRequest, **parts: Any) -> CastRequest:
    return msgspec.structs.replace(asked, **parts)


def refused(asked: CastRequest, way: Callable[..., Any] = ballot_box.cast) -> tuple[int, str]:
    """Status and code of what must be a problem document without a trace of what went on inside."""
    answer = way(asked)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    document = json.loads(answer.body)
    assert document["status"] == answer.status
    assert set(document) - {"reason"} == {"type", "title", "status", "detail", "code"}
    assert "Traceback" not in document["detail"]
    assert "Error" not in document["detail"]
    if answer.status in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    return answer.status, document["code"]


@pytest.mark.full_only
@pytest.mark.django_db
class TestBadInput:
    """Each with its code, and nothing written. No step of it reaches the log."""

    @pytest.fixture
    def poll(self) -> Poll:
        return open_poll(method="multiple", min_selections=2, max_selections=3, choices=4)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"x",
            b"{",
            b"[]",
            b"null",
            b'"1"',
            b"{}",
            b'{"selections": "1"}',
            b'{"selections": 1}',
            b'{"selections": null}',
            b'{"selections": {"1": 1}}',
            b'{"selections": ["1", "2"]}',
            b'{"selections": [1.0, 2]}',
            b'{"selections": [true, 2]}',
            b'{"selections": [1e0, 2]}',
            b'{"selections": [1, null]}',
            b'{"selections": [[1, 2]]}',
            b'{"selections": [' + b"9" * 5000 + b"]}",
            b'{"selections": [' + b",".join([b"1"] * 100) + b"]}",
            b'{"selections": [1, 2], "ballot_id": "x"}',
            b'{"selections": [1, 2], "ballot_id": 7}',
            b'{"selections": [1, 2], "replaces": "00000000-0000-4000-8000"}',
            b'{"selections": [1, 2], "round": 0}',
            b'{"selections": [1, 2], "round": -1}',
            b'{"selections": [1, 2], "round": 65536}',
            b'{"selections": [1, 2], "round": "1"}',
            b'{"selections": [1, 2], "colour": "red"}',
            b'{"selections": [1, 2], "voter": "anna"}',
            b'{"selections": [1, 2]} x',
            b'{"selections": [1, 2], "voter": "\\ud800"}',
            b'\xff\xfe{"selections": [1, 2]}',
            b'{"selections": [1, 2], "\xff": 1}',
            b"[" * 8000,
            b'{"a":' * 2000,
        ],
    )
    def test_what_is_not_a_ballot_is_malformed(self, poll: Poll, body: bytes) -> None:
        assert refused(changed(request(poll, [1, 2]), body=body)) == (400, "malformed")

    @pytest.mark.parametrize(
        ("selections", "reason"),
        [
            ([], "too_few"),
            ([1], "too_few"),
            ([1, 2, 3, 4], "too_many"),
            ([1, 5], "unknown_choice"),
            ([1, 0], "unknown_choice"),
            ([1, -1], "unknown_choice"),
            ([1, 10**30], "unknown_choice"),
            ([1, 1], "duplicate_choice"),
        ],
    )
    def test_what_the_poll_does_not_allow_is_invalid(
        self, poll: Poll, selections: list[int], reason: str
    ) -> None:
        answer = ballot_box.cast(request(poll, selections))
        document = json.loads(answer.body)
        assert (answer.status, document["code"], document["reason"]) == (400, "invalid_selection", reason)

    @pytest.mark.parametrize(
        "content_type",
        ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"],
    )
    def test_only_json_is_taken(self, poll: Poll, content_type: str) -> None:
        asked = changed(request(poll, [1, 2]), content_type=content_type)
        assert refused(asked) == (415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "origin",
        [
            *("null", "", "http://elsewhere.example", "http://testserver:81", "http://testserver.example"),
            *("ftp://testserver", "testserver", "http://", "http://[::1", "http://testserver@x", "file://"),
        ],
    )
    def test_pages_of_other_sites_do_not_vote(self, poll: Poll, origin: str) -> None:
        assert refused(changed(request(poll, [1, 2]), origin=origin)) == (403, "foreign_origin")

    @pytest.mark.parametrize("size", [None, 16 * 1024 + 1, 1024 * 1024])
    def test_a_body_over_the_limit_is_too_large(self, poll: Poll, size: int | None) -> None:
        body = None if size is None else b'{"selections": [1, 2]}'.ljust(size)
        assert refused(changed(request(poll, [1, 2]), body=body)) == (413, "too_large")

    @pytest.mark.parametrize("code", ["NOSUCH", "", "x" * 1000, "A\0B", "ÄÖÜ", "../..", "%00"])
    def test_there_is_no_such_poll(self, poll: Poll, code: str) -> None:
        assert refused(changed(request(poll, [1, 2]), code=code)) == (404, "poll_not_found")

    @pytest.mark.parametrize("cookie", [None, "", "forged", "A" * 43, "ü" * 43])
    def test_an_unknown_voter_is_given_an_identity_to_try_again_with(
        self, poll: Poll, cookie: str | None
    ) -> None:
        asked = changed(request(poll, [1, 2]), cookie=cookie)
        assert refused(asked) == (401, "voter_unknown")
        header = ballot_box.cast(asked).headers["Set-Cookie"]
        value = header.removeprefix("voter=").partition(";")[0]
        assert identity.read_cookie(value) is not None
        assert "HttpOnly" in header

    def test_no_other_refusal_plants_an_identity(self, poll: Poll) -> None:
        unknown = changed(request(poll, [1, 2]), cookie=None)
        for parts in (
            {"content_type": "text/plain"},
            {"origin": "null"},
            {"body": None},
            {"code": "NOSUCH"},
            {"authorization": "Api-Key x"},
        ):
            assert "Set-Cookie" not in ballot_box.cast(changed(unknown, **parts)).headers

    def test_it_checks_envelope_then_identity_then_body(self, poll: Poll) -> None:
        wrong: dict[str, Any] = {
            "content_type": "text/plain",
            "origin": "null",
            "body": b"x" * 20_000,
            "cookie": None,
        }
        asked, codes = changed(request(poll, [1, 2]), **wrong), []
        for part, right in [
            ("content_type", "application/json; charset=utf-8"),
            ("origin", PAGE),
            ("body", b"x"),
            ("cookie", identity.new_cookie()),
        ]:
            codes.append(refused(asked)[1])
            asked = changed(asked, **{part: right})
        codes.append(refused(asked)[1])
        assert codes == [
            *("unsupported_media_type", "foreign_origin", "too_large", "voter_unknown", "malformed"),
        ]

    def test_a_key_is_no_use_when_wrong_revoked_or_without_the_scope(self, poll: Poll) -> None:
        client, key = ApiClient.objects.create_key(name="Stage", scopes=["ballots:write"])
        _, narrow = ApiClient.objects.create_key(name="Reader", scopes=["polls:read", "polls:write"])
        asked = request(poll, [1, 2], voter="anna")
        for way in (ballot_box.cast, batch.cast_batch):
            assert refused(changed(asked, authorization="Api-Key x.y"), way) == (401, "invalid_key")
            scope = refused(changed(asked, authorization=f"Api-Key {narrow}"), way)
            assert scope == (403, "missing_scope")
        client.revoked = True
        client.save()
        assert refused(changed(asked, authorization=f"Api-Key {key}")) == (401, "invalid_key")

    def test_a_client_names_the_voter_of_each_ballot(self, poll: Poll) -> None:
        _, key = ApiClient.objects.create_key(name="Stage", scopes=["ballots:write"])
        for body in ({}, {"voter": ""}, {"voter": "x" * 201}, {"voter": 7}):
            asked = changed(request(poll, [1, 2], **body), authorization=f"Api-Key {key}")
            assert refused(asked) == (400, "malformed")

    @pytest.mark.parametrize(
        "body",
        [
            b"[]",
            b"{}",
            b'{"ballots": {}}',
            b'{"ballots": [}',
            b'{"ballots": null}',
            b'{"ballots": [], "x": 1}',
        ],
    )
    def test_what_is_not_a_batch_is_malformed(self, poll: Poll, body: bytes) -> None:
        _, key = ApiClient.objects.create_key(name="Stage", scopes=["ballots:write"])
        asked = changed(request(poll, []), body=body, authorization=f"Api-Key {key}")
        assert refused(asked, batch.cast_batch) == (400, "malformed")

    def test_a_batch_needs_a_key_and_has_a_limit(self, poll: Poll, settings: Any) -> None:
        settings.BATCH_MAX_BALLOTS = 2
        _, key = ApiClient.objects.create_key(name="Stage", scopes=["ballots:write"])
        asked = changed(request(poll, []), body=b'{"ballots": [1, 2, 3]}')
        assert refused(asked, batch.cast_batch) == (401, "invalid_key")
        asked = changed(asked, authorization=f"Api-Key {key}")
        assert refused(asked, batch.cast_batch) == (413, "too_large")


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

    def test_our_own_pages_vote(self, settings: Any) -> None:
        settings.TRUSTED_ORIGINS = ["https://trusted.example"]
        poll, content_type = open_poll(), "Application/JSON;charset=utf-8"
        for origin in (None, PAGE, "HTTP://TestServer", "https://trusted.example"):
            asked = changed(request(poll, [1]), origin=origin, content_type=content_type)
            assert ballot_box.cast(asked).status == 202

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

    def test_each_refusal_of_the_log_has_its_answer(self) -> None:
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

    def test_a_second_ballot_learns_nothing_of_the_first(self) -> None:
        poll, cookie = open_poll(), identity.new_cookie()
        _, first = cast(poll, [3], cookie)
        answer = ballot_box.cast(request(poll, [2], cookie, **SECOND_BALLOT))
        assert first["ballot_id"].encode() not in answer.body
        assert first["receipt"].encode() not in answer.body

    def test_a_voter_changes_a_ballot_where_the_poll_lets_them(self) -> None:
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

    def test_rules_that_are_kept_refuse_nothing_after_a_reset(self) -> None:
        poll = open_poll(choices=2)
        kept = poll_rules.get_rules(poll.code)
        lifecycle.reset_poll(poll.pk)
        Choice.objects.create(poll=poll, number=3, label="New")
        Choice.objects.filter(poll=poll, number=1).delete()
        lifecycle.open_poll(poll.pk)

        def keep_old() -> None:
            """As in another process, which has not heard of the reset."""
            poll_rules._cache[poll.code] = (poll_rules.time.monotonic(), kept)

        keep_old()
        assert cast(poll, [3])[0] == 202
        keep_old()
        assert cast(poll, [3], round=2)[0] == 202
        keep_old()
        assert refused(request(poll, [1], round=2)) == (400, "invalid_selection")

    def test_an_outcome_that_nobody_knows_is_settled_by_a_retry(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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

    def test_who_waits_sits_on_no_database_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or, with a pool, as many waiting casts as it has connections would wait for ever."""
        poll, held = open_poll(), []
        settle = log_writer._settle

        def look(future: Any) -> Any:
            held.append(connection.connection)
            return settle(future)

        monkeypatch.setattr(log_writer, "_settle", look)
        assert cast(poll, [1])[0] == 202
        assert held == [None]

    def test_a_log_that_lost_ballots_takes_no_more(self) -> None:
        poll = open_poll()
        assert cast(poll, [1])[0] == 202
        Checkpoint.objects.update(position=1_000_000)
        votelog.expected_heads(max_age=0)
        assert refused(request(poll, [1])) == (503, "log_inconsistent")

    def test_a_log_that_is_not_the_one_of_the_settings_takes_none(self) -> None:
        poll = open_poll()
        Checkpoint.objects.update(log="kafka")
        votelog.forget_log()
        assert refused(request(poll, [1])) == (503, "log_inconsistent")


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

    def test_a_batch_larger_than_an_append(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batch, "APPEND_AT_MOST", 40)
        poll = open_poll()
        outcomes = self.send(
            poll, key, [{"selections": [1 + n % 3], "voter": str(n % 90)} for n in range(100)]
        )
        codes = [outcome.get("code", outcome.get("status")) for outcome in outcomes]
        assert codes == ["accepted"] * 90 + ["already_voted"] * 10
        count()
        assert check_books(poll)[1, "ballots"] == 90

    def test_one_client_knows_nothing_of_the_voters_of_another(self, key: str) -> None:
        poll = open_poll()
        _, other = ApiClient.objects.create_key(name="Foyer", scopes=["ballots:write"])
        for each in (key, other):
            assert self.send(poll, each, [{"selections": [1], "voter": "anna"}])[0]["status"] == "accepted"
        status, document = cast(poll, [1])
        assert (status, document["status"]) == (202, "accepted")
        count()
        assert check_books(poll)[1, "ballots"] == 3

    def test_what_one_ballot_is_told_is_not_told_of_another(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        poll, log = open_poll(), votelog.get_log()
        write, refusals = log.append, ["overloaded", "outcome_unknown", "unavailable", "log_inconsistent"]

        def fail_in_part(ballots: Any, expected: Any) -> Any:
            """Every other ballot is for a part of the log that fails."""
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

    def test_a_part_that_fails_is_told_from_the_rest(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batch, "APPEND_AT_MOST", 2)
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
