"""Invalid requests: each is refused with its code, and nothing is written."""

import json
from typing import Any

import pytest

from polls.casting import batch
from polls.casting.cast import cast_and_wait
from polls.models import ApiClient, Poll
from polls.voters import identity, poll_rules
from tests.factories import open_poll, request
from tests.polls.casting.refusals import PAGE, changed, refused


@pytest.fixture(autouse=True)
def _no_rules_kept() -> None:
    poll_rules.clear_cache()


@pytest.mark.full_only
@pytest.mark.django_db
class TestBadInput:
    """None of these reaches the log."""

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
    def test_a_body_that_is_not_a_ballot_is_malformed(self, poll: Poll, body: bytes) -> None:
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
    def test_a_selection_that_the_poll_does_not_allow_is_invalid(
        self, poll: Poll, selections: list[int], reason: str
    ) -> None:
        answer = cast_and_wait(request(poll, selections))
        document = json.loads(answer.body)
        assert (answer.status, document["code"], document["reason"]) == (400, "invalid_selection", reason)

    @pytest.mark.parametrize(
        "content_type",
        ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"],
    )
    def test_only_json_is_accepted(self, poll: Poll, content_type: str) -> None:
        asked = changed(request(poll, [1, 2]), content_type=content_type)
        assert refused(asked) == (415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "origin",
        [
            *("null", "", "http://elsewhere.example", "http://testserver:81", "http://testserver.example"),
            *("ftp://testserver", "testserver", "http://", "http://[::1", "http://testserver@x", "file://"),
        ],
    )
    def test_pages_of_other_sites_may_not_vote(self, poll: Poll, origin: str) -> None:
        assert refused(changed(request(poll, [1, 2]), origin=origin)) == (403, "foreign_origin")

    @pytest.mark.parametrize("size", [None, 16 * 1024 + 1, 1024 * 1024])
    def test_a_body_over_the_limit_is_too_large(self, poll: Poll, size: int | None) -> None:
        body = None if size is None else b'{"selections": [1, 2]}'.ljust(size)
        assert refused(changed(request(poll, [1, 2]), body=body)) == (413, "too_large")

    @pytest.mark.parametrize("code", ["NOSUCH", "", "x" * 1000, "A\0B", "ÄÖÜ", "../..", "%00"])
    def test_an_unknown_poll_is_not_found(self, poll: Poll, code: str) -> None:
        assert refused(changed(request(poll, [1, 2]), code=code)) == (404, "poll_not_found")

    @pytest.mark.parametrize("cookie", [None, "", "forged", "A" * 43, "ü" * 43])
    def test_an_unknown_voter_gets_a_cookie_to_retry_with(self, poll: Poll, cookie: str | None) -> None:
        asked = changed(request(poll, [1, 2]), cookie=cookie)
        assert refused(asked) == (401, "voter_unknown")
        header = cast_and_wait(asked).headers["Set-Cookie"]
        value = header.removeprefix("voter=").partition(";")[0]
        assert identity.read_cookie(value) is not None
        assert "HttpOnly" in header

    def test_no_other_refusal_sets_a_cookie(self, poll: Poll) -> None:
        unknown = changed(request(poll, [1, 2]), cookie=None)
        for parts in (
            {"content_type": "text/plain"},
            {"origin": "null"},
            {"body": None},
            {"code": "NOSUCH"},
            {"authorization": "Api-Key x"},
        ):
            assert "Set-Cookie" not in cast_and_wait(changed(unknown, **parts)).headers

    def test_the_order_of_checks_is_envelope_identity_body(self, poll: Poll) -> None:
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

    def test_an_api_key_that_is_wrong_revoked_or_without_the_scope_is_refused(self, poll: Poll) -> None:
        client, key = ApiClient.objects.create_key(name="Stage", scopes=["ballots:write"])
        _, narrow = ApiClient.objects.create_key(name="Reader", scopes=["polls:read", "polls:write"])
        asked = request(poll, [1, 2], voter="anna")
        for way in (cast_and_wait, batch.cast_batch):
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
    def test_a_body_that_is_not_a_batch_is_malformed(self, poll: Poll, body: bytes) -> None:
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
