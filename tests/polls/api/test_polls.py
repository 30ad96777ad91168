"""The REST API for polls: requests with a key, and refusals."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from polls import lifecycle
from polls.api import reference
from polls.errors import LandslideError, errors_by_code
from polls.models import ApiClient, Poll, State
from tests.polls.api_client import POLLS, Caller, make_key, make_poll, refusal

pytestmark = pytest.mark.django_db

NEW = {"question": "Tea or coffee?", "choices": ["Tea", "Coffee"]}


@pytest.fixture
def writer() -> Caller:
    return Caller(make_key("polls:read", "polls:write"))


@pytest.fixture
def reader() -> Caller:
    return Caller(make_key("polls:read"))


def soon(**delta: float) -> str:
    return (timezone.now() + timedelta(**delta)).isoformat()


# --- creating ---


def test_question_and_choices_are_enough_for_a_poll(writer: Caller) -> None:
    answer = writer("POST", POLLS, NEW)
    assert answer.status_code == 201
    made = answer.json()
    code = made["code"]
    assert answer["Location"] == made["links"]["self"] == f"http://testserver{POLLS}{code}/"
    assert made["links"] | {"self": ""} == {
        "self": "",
        "vote": f"http://testserver/p/{code}/",
        "tally": f"http://testserver{POLLS}{code}/tally/",
    }
    assert datetime.fromisoformat(made.pop("created_at")).tzinfo == UTC
    del made["links"]
    assert made == {
        "code": code,
        "question": "Tea or coffee?",
        "method": "single",
        "choices": [{"number": 1, "label": "Tea"}, {"number": 2, "label": "Coffee"}],
        "min_selections": 1,
        "max_selections": 1,
        "revote": False,
        "results_visible": "always",
        "identity": "browser",
        "venue_networks": [],
        "over_limit": "refuse",
        "proof_of_work": "auto",
        "release_step": 1,
        "opens_at": None,
        "closes_at": None,
        "expected_turnout": None,
        "closed_at": None,
        "published_at": None,
        "state": "draft",
        "round": 1,
    }
    assert writer("GET", f"{POLLS}{code}/").json()["code"] == code


def test_every_field_can_be_set(writer: Caller) -> None:
    body = NEW | {
        "code": "TEATIME",
        "method": "multiple",
        "choices": ["  Tea ", "Coffee", "Käse 🧀"],
        "min_selections": 2,
        "max_selections": 3,
        "revote": True,
        "results_visible": "after_close",
        "opens_at": "2099-01-01T12:00:00+02:00",
        "closes_at": "2099-01-01T12:00:00Z",
        "expected_turnout": 1_000_000_000,
        "identity": "invite",
        "venue_networks": [
            "198.51.100.7/24",
            " 2001:DB8::/48",
            "203.0.113.9",
            "::ffff:192.0.2.0/120",
            "198.51.100.0/24",
        ],
        "over_limit": "quarantine",
        "proof_of_work": "on",
        "release_step": 25,
    }
    made = writer("POST", POLLS, body).json()
    assert made["code"] == "TEATIME"
    assert [choice["label"] for choice in made["choices"]] == ["Tea", "Coffee", "Käse 🧀"]
    assert made["opens_at"] == "2099-01-01T10:00:00Z"
    assert (made["min_selections"], made["max_selections"], made["revote"]) == (2, 3, True)
    assert made["results_visible"] == "after_close"
    assert made["expected_turnout"] == 1_000_000_000
    assert (made["identity"], made["release_step"]) == ("invite", 25)
    assert (made["over_limit"], made["proof_of_work"]) == ("quarantine", "on")
    assert made["venue_networks"] == ["198.51.100.0/24", "2001:db8::/48", "203.0.113.9/32", "192.0.2.0/24"]
    assert writer("GET", f"{POLLS}TEATIME/").json() == made


def test_multiple_choice_allows_all_choices_by_default(writer: Caller) -> None:
    made = writer("POST", POLLS, NEW | {"method": "multiple", "choices": ["A", "B", "C"]}).json()
    assert (made["min_selections"], made["max_selections"]) == (1, 3)
    made = writer("POST", POLLS, NEW | {"method": "multiple", "max_selections": 1}).json()
    assert made["max_selections"] == 1


def test_a_code_is_unique(writer: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writer("POST", POLLS, NEW | {"code": "ONCE"}).status_code == 201
    assert refusal(writer("POST", POLLS, NEW | {"code": "ONCE"})) == (409, "code_taken")
    assert Poll.objects.count() == 1
    drawn = iter(["ONCE", "ONCE", "TWICE"])
    monkeypatch.setattr(Poll._meta.get_field("code"), "_get_default", lambda: next(drawn))
    assert writer("POST", POLLS, NEW).json()["code"] == "TWICE"


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ([], ""),
    "null": (None, ""),
    "a number": (7, ""),
    "nothing": ({}, "question"),
    "no choices": ({"question": "?"}, "choices"),
    "unknown field": (NEW | {"colour": "red"}, "colour"),
    "state": (NEW | {"state": "open"}, "state"),
    "question is a number": (NEW | {"question": 5}, "question"),
    "question is true": (NEW | {"question": True}, "question"),
    "question is null": (NEW | {"question": None}, "question"),
    "question is blank": (NEW | {"question": " \t"}, "question"),
    "question is long": (NEW | {"question": "x" * 301}, "question"),
    "NUL in the question": (NEW | {"question": "a\0b"}, "question"),
    "choices is a string": (NEW | {"choices": "ab"}, "choices"),
    "choices is an object": (NEW | {"choices": {"1": "a", "2": "b"}}, "choices"),
    "one choice": (NEW | {"choices": ["a"]}, "choices"),
    "100 choices": (NEW | {"choices": [str(n) for n in range(100)]}, "choices"),
    "a choice is a number": (NEW | {"choices": ["a", 2]}, "choices.1"),
    "a choice is null": (NEW | {"choices": ["a", None]}, "choices.1"),
    "a choice is blank": (NEW | {"choices": ["a", "  "]}, "choices.1"),
    "a choice is long": (NEW | {"choices": ["a", "x" * 201]}, "choices.1"),
    "NUL in a choice": (NEW | {"choices": ["a", "b\0"]}, "choices.1"),
    "a choice twice": (NEW | {"choices": ["Tea", " tea "]}, ""),
    "unknown method": (NEW | {"method": "lottery"}, "method"),
    "method is a list": (NEW | {"method": ["single"]}, "method"),
    "limits of single": (NEW | {"max_selections": 2}, ""),
    "min over max": (NEW | {"method": "multiple", "min_selections": 2, "max_selections": 1}, ""),
    "max over choices": (NEW | {"method": "multiple", "max_selections": 3}, ""),
    "min is 0": (NEW | {"min_selections": 0}, "min_selections"),
    "max is a string": (NEW | {"max_selections": "1"}, "max_selections"),
    "max is true": (NEW | {"max_selections": True}, "max_selections"),
    "max is 1.5": (NEW | {"max_selections": 1.5}, "max_selections"),
    "max is null": (NEW | {"max_selections": None}, "max_selections"),
    "max is huge": (NEW | {"max_selections": 10**30}, "max_selections"),
    "revote is a string": (NEW | {"revote": "true"}, "revote"),
    "revote is a number": (NEW | {"revote": 1}, "revote"),
    "revote is null": (NEW | {"revote": None}, "revote"),
    "unknown visibility": (NEW | {"results_visible": "never"}, "results_visible"),
    "no time": (NEW | {"opens_at": "soon"}, "opens_at"),
    "a day": (NEW | {"opens_at": "2099-01-01"}, "opens_at"),
    "no such day": (NEW | {"opens_at": "2099-02-30T00:00:00Z"}, "opens_at"),
    "no zone": (NEW | {"closes_at": "2099-01-01T00:00:00"}, "closes_at"),
    "a time is a number": (NEW | {"closes_at": 4070908800}, "closes_at"),
    "before all time": (NEW | {"opens_at": "0001-01-01T00:00:00+10:00"}, "opens_at"),
    "closed already": (NEW | {"closes_at": "2020-01-01T00:00:00Z"}, "closes_at"),
    "closes before it opens": (
        NEW | {"opens_at": "2099-01-02T00:00:00Z", "closes_at": "2099-01-01T00:00:00Z"},
        "",
    ),
    "nobody is expected": (NEW | {"expected_turnout": 0}, "expected_turnout"),
    "fewer than nobody": (NEW | {"expected_turnout": -1}, "expected_turnout"),
    "more than there are": (NEW | {"expected_turnout": 1_000_000_001}, "expected_turnout"),
    "a turnout in words": (NEW | {"expected_turnout": "many"}, "expected_turnout"),
    "half a voter": (NEW | {"expected_turnout": 1.5}, "expected_turnout"),
    "code in lower case": (NEW | {"code": "demo"}, "code"),
    "code too short": (NEW | {"code": "AB"}, "code"),
    "code too long": (NEW | {"code": "A" * 17}, "code"),
    "code with a newline": (NEW | {"code": "AB\nC"}, "code"),
    "code is a number": (NEW | {"code": 12345}, "code"),
    "code is null": (NEW | {"code": None}, "code"),
}


@pytest.mark.full_only
@pytest.mark.parametrize(("body", "where"), REFUSED.values(), ids=REFUSED.keys())
def test_the_error_names_the_invalid_field(writer: Caller, body: Any, where: str) -> None:
    answer = writer("POST", POLLS, json.dumps(body).encode())
    assert refusal(answer) == (400, "malformed")
    if where:
        assert answer.json()["detail"].startswith(f"{where}: ")
        assert where.split(".")[0] in answer.json()["errors"]
    assert not Poll.objects.exists()


@pytest.mark.full_only
@pytest.mark.parametrize("given", ["always", 5])
def test_the_error_of_a_choice_lists_the_valid_values(writer: Caller, given: Any) -> None:
    answer = writer("POST", POLLS, NEW | {"proof_of_work": given})
    assert answer.json()["errors"]["proof_of_work"] == [f'"{given}" is none of these: off, auto, on.']


RAW = {
    "empty": b"",
    "no JSON": b"{question: 'a'}",
    "cut off": b'{"question": "a"',
    "two documents": b"{}{}",
    "not UTF-8": b'{"question": "\xff"}',
    "UTF-16": '{"question": "a"}'.encode("utf-16"),
    "half a surrogate": b'{"question": "\\ud800", "choices": ["a", "b"]}',
    "NaN": b'{"max_selections": NaN}',
    "nested too deep": b'{"a":' + b"[" * 50_000,
    "a member twice": b'{"question": "a", "question": "b", "choices": ["a", "b"]}',
    "a member twice, one escaped": rb'{"question": "a", "questio\u006e": "b", "choices": ["a", "b"]}',
}


@pytest.mark.full_only
@pytest.mark.parametrize("body", RAW.values(), ids=RAW.keys())
def test_invalid_json_is_malformed(writer: Caller, body: bytes) -> None:
    assert refusal(writer("POST", POLLS, body)) == (400, "malformed")


@pytest.mark.full_only
@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencoded", "text/json"])
def test_only_json_is_accepted(writer: Caller, content_type: str) -> None:
    assert refusal(writer("POST", POLLS, NEW, content_type)) == (415, "unsupported_media_type")


def test_a_charset_is_ignored(writer: Caller) -> None:
    for content_type in (
        "application/json; charset=utf-8",
        "Application/JSON;charset=hex",
        "application/json; x",
    ):
        assert writer("POST", POLLS, NEW, content_type).status_code == 201


def test_a_megabyte_is_too_large(writer: Caller) -> None:
    assert refusal(writer("POST", POLLS, b" " * 1_000_000)) == (413, "too_large")


def test_the_largest_poll_fits(writer: Caller) -> None:
    choices = [f"{n:03}" + "\N{GRINNING FACE}" * 197 for n in range(99)]  # each face is 12 bytes of escapes
    answer = writer("POST", POLLS, {"question": "\N{GRINNING FACE}" * 300, "choices": choices})
    assert answer.status_code == 201
    assert len(answer.json()["choices"]) == 99


# --- keys ---


def test_every_client_endpoint_requires_a_key(writer: Caller) -> None:
    code = make_poll().code
    anybody = Caller()
    for method, path in EVERY:
        answer = anybody(method, path.format(code=code))
        assert refusal(answer) == (401, "invalid_key"), (method, path)


EVERY = [
    ("GET", POLLS),
    ("POST", POLLS),
    ("GET", POLLS + "{code}/"),
    ("PATCH", POLLS + "{code}/"),
    ("DELETE", POLLS + "{code}/"),
    *(("POST", POLLS + "{code}/" + step + "/") for step in ("open", "close", "publish", "reset")),
]


@pytest.mark.parametrize(
    "header",
    [
        "Api-Key",
        "Api-Key ",
        "Api-Key nonsense",
        "Api-Key a.b.c",
        "Api-Key ........",
        "Api-Key " + "x" * 5_000,
        "Api-Key é.ü",
        "Basic dXNlcjpwYXNz",
        "Bearer abc",
        "",
    ],
)
def test_an_invalid_authorization_is_refused(header: str) -> None:
    assert refusal(Caller()("GET", POLLS, Authorization=header)) == (401, "invalid_key")


def test_revoked_and_expired_keys_are_refused() -> None:
    gone = [
        make_key("polls:write", revoked=True),
        make_key("polls:write", expiry_date=timezone.now() - timedelta(seconds=1)),
    ]
    for key in gone:
        assert refusal(Caller(key)("GET", POLLS)) == (401, "invalid_key")
    assert Caller(make_key("polls:write", expiry_date=timezone.now() + timedelta(hours=1)))("GET", POLLS)


def test_only_the_whole_key_is_valid() -> None:
    key = make_key("polls:read")
    for wrong in (key[:-1], key.split(".")[0], key.upper(), key + "x"):
        assert refusal(Caller(wrong)("GET", POLLS)) == (401, "invalid_key")
    assert Caller()("GET", POLLS, Authorization=f"api-key  {key} ").status_code == 200


def test_each_scope_allows_only_its_own_methods(reader: Caller) -> None:
    code = make_poll().code
    caster = Caller(make_key("ballots:write"))
    for method, path in EVERY:
        assert refusal(caster(method, path.format(code=code))) == (403, "missing_scope")
        answer = reader(method, path.format(code=code))
        if method == "GET":
            assert answer.status_code == 200
        else:
            assert refusal(answer) == (403, "missing_scope")
            assert "polls:write" in answer.json()["detail"]
    assert Poll.objects.get().state == State.DRAFT


def test_writing_includes_reading() -> None:
    code = make_poll().code
    writer = Caller(make_key("polls:write"))
    assert writer("GET", POLLS).status_code == writer("GET", f"{POLLS}{code}/").status_code == 200


def test_a_login_session_is_not_accepted(admin_client: Any) -> None:
    assert admin_client.get(POLLS).status_code == 401


# --- reading and listing ---


def test_a_code_is_accepted_as_people_type_it(reader: Caller) -> None:
    make_poll(code="TEATIME")
    for typed in ("teatime", "TeaTime", "tea%20time", "TEA-TIME"):
        assert reader("GET", f"{POLLS}{typed}/").json()["code"] == "TEATIME"


@pytest.mark.full_only
@pytest.mark.parametrize("code", ["NOSUCH", "x" * 300, "%00", "%F0%9F%A7%80", "..", "'%22;--", "%ED%A0%80"])
def test_an_unknown_poll_is_not_found_anywhere(writer: Caller, code: str) -> None:
    for method, path in EVERY[2:]:
        body = {"question": "new"} if method == "PATCH" else None
        assert refusal(writer(method, path.format(code=code), body)) == (404, "poll_not_found")
    for path in ("tally", "voter"):
        assert refusal(Caller()("GET", f"{POLLS}{code}/{path}/")) == (404, "poll_not_found")


def test_poll_responses_have_no_tally_and_are_not_cached(reader: Caller) -> None:
    code = make_poll(open=True).code
    for path in (POLLS, f"{POLLS}{code}/"):
        answer = reader("GET", path)
        assert answer["Cache-Control"] == "no-store"
        assert not {"ballots", "votes", "share", "version"} & set(words(answer.json()))


def words(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [*document, *(word for inner in document.values() for word in words(inner))]
    return [word for inner in document for word in words(inner)] if isinstance(document, list) else []


def test_pages_are_newest_first_and_go_both_ways(reader: Caller) -> None:
    made = [make_poll(code=f"POLL{n}").code for n in range(7)]
    first = reader("GET", f"{POLLS}?page_size=3").json()
    assert first["previous"] is None
    make_poll(code="LATER")  # doesn't change the next pages
    second = reader("GET", first["next"]).json()
    third = reader("GET", second["next"]).json()
    assert third["next"] is None
    seen = [poll["code"] for page in (first, second, third) for poll in page["results"]]
    assert seen == made[::-1]
    back = reader("GET", third["previous"]).json()
    assert [poll["code"] for poll in back["results"]] == seen[3:6]


def test_the_list_needs_the_same_queries_for_many_polls(
    reader: Caller, django_assert_num_queries: Any
) -> None:
    for n in range(5):
        make_poll(question=str(n))
    with django_assert_num_queries(3):  # the key, the polls, their choices
        assert len(reader("GET", POLLS).json()["results"]) == 5


def test_the_list_is_filtered_by_state(reader: Caller) -> None:
    make_poll(code="DRAFT")
    make_poll(code="OPEN", open=True)

    def found(query: str) -> list[str]:
        return [poll["code"] for poll in reader("GET", POLLS + query).json()["results"]]

    assert found("?state=open") == ["OPEN"]
    assert found("?state=closed") == []
    for bad in ("ajar", "", "Open"):
        assert refusal(reader("GET", f"{POLLS}?state={bad}")) == (400, "malformed")


def test_search_finds_parts_of_question_and_code(reader: Caller) -> None:
    make_poll(code="TEATIME", question="Biscuits?")
    make_poll(code="OTHER", question="100 % TEA_leaves?")

    def found(text: str) -> list[str]:
        answer = reader("GET", f"{POLLS}?search={text}")
        assert answer.status_code == 200
        return [poll["code"] for poll in answer.json()["results"]]

    assert found("tea") == ["OTHER", "TEATIME"]
    assert found("BISC") == ["TEATIME"]
    assert found("%25") == found("a_l") == ["OTHER"]  # no wildcards
    assert found("zzz") == []
    assert found("") == ["OTHER", "TEATIME"]
    for bad in ("%00", "x" * 101):
        assert refusal(reader("GET", f"{POLLS}?search={bad}")) == (400, "malformed")


@pytest.mark.full_only
@pytest.mark.parametrize(
    "query",
    ["page_size=0", "page_size=201", "page_size=ten", "page_size=-1", "page_size=%D9%A3", "page_size="]
    + ["page_size=" + "9" * 5000, "page_size=" + "0" * 5000 + "9", "page_size=1000000009"]
    + ["cursor=nonsense", "cursor=cD1zb29u", "cursor=cD0xJTAw", "cursor=cD05" + "OTk5" * 20],
)
def test_an_invalid_page_is_malformed(reader: Caller, query: str) -> None:
    assert refusal(reader("GET", f"{POLLS}?{query}")) == (400, "malformed")


@pytest.mark.parametrize(
    "query",
    [
        "state=open&state=draft",
        "state=open&state=open",
        "search=a&search=",
        "page_size=1&state=open&page_size=1",
    ],
)
def test_a_duplicate_parameter_is_refused(reader: Caller, query: str) -> None:
    answer = reader("GET", f"{POLLS}?{query}")
    assert refusal(answer) == (400, "malformed")
    assert list(answer.json()["errors"]) == [query.rpartition("&")[2].partition("=")[0]]


def test_every_endpoint_refuses_duplicate_parameters(reader: Caller) -> None:
    code = make_poll(open=True).code
    for address in (f"{code}/", f"{code}/tally/", f"{code}/audit/", f"{code}/voter/"):
        assert refusal(reader("GET", f"{POLLS}{address}?round=1&round=2")) == (400, "malformed")


def test_a_misspelt_filter_is_refused(reader: Caller) -> None:
    for query in ("stat=open", "format=xml", "state=open&x="):
        answer = reader("GET", f"{POLLS}?{query}")
        assert refusal(answer) == (400, "malformed")
        assert query.split("&")[-1].split("=")[0] in answer.json()["errors"]


def test_a_thousand_parameters_are_refused(reader: Caller) -> None:
    assert refusal(reader("GET", POLLS + "?" + "&".join(f"a{n}=1" for n in range(1_500)))) == (
        400,
        "malformed",
    )


# --- changing and deleting ---


def test_a_draft_can_be_changed(writer: Caller) -> None:
    poll = make_poll(closes_at=timezone.now() + timedelta(hours=1))
    before = poll.revision
    answer = writer("PATCH", f"{POLLS}{poll.code}/", {"question": "New?", "closes_at": None})
    assert answer.status_code == 200
    assert (answer.json()["question"], answer.json()["closes_at"]) == ("New?", None)
    assert [choice["label"] for choice in answer.json()["choices"]] == ["Tea", "Coffee", "Water"]
    poll.refresh_from_db()
    assert poll.revision > before  # viewers are notified

    answer = writer("PATCH", f"{POLLS}{poll.code}/", {"choices": ["A", "B"], "revote": True})
    assert [choice["label"] for choice in answer.json()["choices"]] == ["A", "B"]
    assert writer("PATCH", f"{POLLS}{poll.code}/", {}).json() == answer.json()


@pytest.mark.full_only
@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"code": "OTHER"},
        {"state": "open"},
        {"question": ""},
        {"choices": ["a"]},
        {"choices": ["a", "a"]},
        {"method": "multiple", "max_selections": 4},
        {"max_selections": 2},
        {"closes_at": "2020-01-01T00:00:00Z"},
        {"revote": "no"},
        {"expected_turnout": 0},
        {"identity": "anybody"},
        {"identity": None},
        {"venue_networks": "198.51.100.0/24"},
        {"venue_networks": ["198.51.100.0/33"]},
        {"venue_networks": ["hall.example"]},
        {"venue_networks": ["0.0.0.0/0"]},
        {"venue_networks": ["fe80::1%eth0"]},
        {"venue_networks": [3325256704]},
        {"venue_networks": [f"198.51.100.{n}" for n in range(101)]},
        {"over_limit": "drop"},
        {"proof_of_work": True},
        {"release_step": 0},
        {"release_step": 1001},
    ],
)
def test_a_change_is_validated_like_a_new_poll(writer: Caller, change: Any) -> None:
    poll = make_poll()
    assert refusal(writer("PATCH", f"{POLLS}{poll.code}/", change)) == (400, "malformed")
    assert writer("GET", f"{POLLS}{poll.code}/").json()["question"] == "What?"


def test_the_expected_turnout_can_be_cleared(writer: Caller) -> None:
    address = f"{POLLS}{make_poll().code}/"
    for turnout in (5_000, None):
        assert writer("PATCH", address, {"expected_turnout": turnout}).json()["expected_turnout"] == turnout


def test_an_opened_poll_cannot_be_changed_or_deleted(writer: Caller) -> None:
    poll = make_poll(open=True)
    for method, body in (("PATCH", {"question": "Other?"}), ("DELETE", None)):
        answer = writer(method, f"{POLLS}{poll.code}/", body)
        assert refusal(answer) == (409, "illegal_state")
        assert answer.json()["state"] == "open"
    lifecycle.reset_poll(poll.pk)
    assert refusal(writer("DELETE", f"{POLLS}{poll.code}/")) == (409, "illegal_state")
    assert writer("PATCH", f"{POLLS}{poll.code}/", {"question": "Other?"}).json()["round"] == 2


@pytest.mark.parametrize("state", ["open", "closed"])
@pytest.mark.django_db
def test_protection_can_be_changed_while_the_poll_runs(writer: Caller, state: str) -> None:
    poll = make_poll(open=True)
    if state == "closed":
        lifecycle.close_poll(poll.pk)
    address = f"{POLLS}{poll.code}/"
    change = {"venue_networks": ["10.1.0.0/16"], "over_limit": "quarantine", "proof_of_work": "on"}
    answer = writer("PATCH", address, change | {"results_visible": "staff"})
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in change} == change
    assert answer.json()["results_visible"] == "staff"
    for frozen in ("identity", "release_step", "revote", "closes_at"):
        value = {"identity": "login", "release_step": 5, "revote": True, "closes_at": None}[frozen]
        assert refusal(writer("PATCH", address, change | {frozen: value})) == (409, "illegal_state")
    assert refusal(writer("PATCH", address, {"venue_networks": ["x"]})) == (400, "malformed")


def test_a_draft_can_be_deleted(writer: Caller) -> None:
    code = make_poll().code
    answer = writer("DELETE", f"{POLLS}{code}/")
    assert (answer.status_code, answer.content) == (204, b"")
    assert refusal(writer("DELETE", f"{POLLS}{code}/")) == (404, "poll_not_found")


# --- the lifecycle ---


def test_the_steps_take_a_poll_through_its_lifecycle(writer: Caller) -> None:
    code = writer("POST", POLLS, NEW).json()["code"]

    def take(step: str) -> Any:
        return writer("POST", f"{POLLS}{code}/{step}/")

    for early in ("close", "publish", "reset"):
        assert refusal(take(early)) == (409, "illegal_state")
    opened = take("open")
    assert (opened.status_code, opened.json()["state"]) == (200, "open")
    assert opened.json()["opens_at"]
    assert refusal(take("open")) == (409, "illegal_state")
    assert take("close").json()["state"] in ("closing", "closed")
    settle(code)
    assert writer("GET", f"{POLLS}{code}/").json()["closed_at"]
    published = take("publish").json()
    assert published["state"] == "published"
    assert published["published_at"]
    again = take("reset").json()
    assert (again["state"], again["round"], again["closed_at"]) == ("draft", 2, None)


def settle(code: str) -> None:
    """Count the last ballots and close the poll, as a worker does."""
    from analytics.counting import batches, closing
    from polls.votelog import get_log

    for partition in range(get_log().partitions):
        batches.count_partition(partition)
    closing.close_counted_polls()
    assert Poll.objects.get(code=code).state == State.CLOSED


def test_a_step_ignores_its_body(writer: Caller) -> None:
    code = make_poll().code
    assert writer("POST", f"{POLLS}{code}/open/", b"whatever", "text/plain").status_code == 200


def test_publishing_waits_for_the_count(writer: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PUBLISH_WAIT_SECONDS", 0.1)
    poll = make_poll(open=True)
    lifecycle.close_poll(poll.pk)
    assert refusal(writer("POST", f"{POLLS}{poll.code}/publish/")) == (409, "illegal_state")


def test_a_poll_whose_closing_time_has_passed_cannot_open(writer: Caller) -> None:
    poll = make_poll()
    Poll.objects.filter(pk=poll.pk).update(closes_at=timezone.now() - timedelta(seconds=1))
    assert refusal(writer("POST", f"{POLLS}{poll.code}/open/")) == (409, "illegal_state")


# --- methods, addresses, accept ---


def test_a_wrong_method_is_refused_before_authentication() -> None:
    code = make_poll().code
    for method, path in (
        ("PUT", POLLS),
        ("DELETE", POLLS),
        ("PUT", f"{POLLS}{code}/"),
        ("GET", f"{POLLS}{code}/open/"),
        ("GET", f"{POLLS}{code}/ballots/"),
        ("GET", f"{POLLS}{code}/ballots/batch/"),
        ("POST", f"{POLLS}{code}/tally/"),
        ("POST", f"{POLLS}{code}/voter/"),
        ("DELETE", "/api/v1/receipts/x/"),
        ("TRACE", POLLS),
    ):
        answer = Caller()(method, path)
        assert refusal(answer) == (405, "method_not_allowed"), (method, path)
        assert method not in answer["Allow"]


def test_head_and_options_have_no_body(reader: Caller) -> None:
    code = make_poll().code
    for path in (POLLS, f"{POLLS}{code}/"):
        head = reader("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
    options = Caller()("OPTIONS", f"{POLLS}{code}/", Origin="https://evil.example")
    assert (options.status_code, options.content) == (204, b"")
    assert options["Allow"] == "GET, PATCH, DELETE, HEAD, OPTIONS"
    assert "Access-Control-Allow-Origin" not in options


def test_only_json_responses_are_available(reader: Caller) -> None:
    for accepted in ("*/*", "application/*", "application/json", "text/html, application/json;q=0.1"):
        assert reader("GET", POLLS, Accept=accepted).status_code == 200
    for other in ("text/html", "application/xml", "image/*"):
        assert refusal(reader("GET", POLLS, Accept=other)) == (406, "not_acceptable")


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/", "/api/v2/polls/", "/api/v1/polls/A/nothing/", "/api/%00/"]
)
def test_an_unknown_address_is_a_problem_document(path: str) -> None:
    for method in ("GET", "POST"):
        assert refusal(Caller()(method, path)) == (404, "not_found")


def test_a_missing_slash_redirects_with_the_body() -> None:
    answer = Caller()("POST", "/api/v1/polls?x=1", NEW)
    assert (answer.status_code, answer["Location"]) == (308, "/api/v1/polls/?x=1")
    assert refusal(Caller()("GET", "/api/v1/nothing")) == (404, "not_found")


def test_an_unknown_host_is_malformed() -> None:
    assert refusal(Caller()("GET", POLLS, Host="evil.example")) == (400, "malformed")


def test_there_are_no_cors_headers(reader: Caller) -> None:
    code = make_poll().code
    for path in (POLLS, f"{POLLS}{code}/", f"{POLLS}{code}/voter/"):
        answer = reader("GET", path, Origin="https://elsewhere.example")
        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer


# --- server errors ---


def test_a_bug_is_a_logged_problem_document(
    reader: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = make_poll().code
    monkeypatch.setattr(ApiClient, "allows", lambda *_: 1 / 0)
    answer = reader("GET", f"{POLLS}{code}/")
    assert refusal(answer) == (500, "internal_error")
    assert "ZeroDivisionError" not in answer.content.decode()
    assert any("ZeroDivisionError" in str(record.exc_info) for record in caplog.records)


def test_a_database_outage_is_503(reader: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(ApiClient, "allows", away)
    answer = reader("GET", POLLS)
    assert refusal(answer) == (503, "unavailable")
    assert "refused" not in answer.json()["detail"]


# --- the page that explains the codes ---


def test_every_code_is_explained(client: Any) -> None:
    # Errors that are defined elsewhere occur only in commands.
    ours = [code for code, error in errors_by_code().items() if error.__module__ == "polls.errors"]
    assert reference.codes() == sorted(ours)
    page = client.get("/api/errors/")
    assert page.status_code == 200
    for code in reference.codes():
        assert f'id="{code}"' in page.content.decode()


def test_codes_are_distinct() -> None:
    assert len(errors_by_code()) == len(LandslideError.__subclasses__())
