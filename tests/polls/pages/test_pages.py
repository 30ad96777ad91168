"""The join page and the voter's page as the server renders them: states, leaks, redirects, caching."""

import json
import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from polls import lifecycle
from tests.polls.api_client import POLLS, Caller, make_key, make_poll
from tests.polls.public_pages import (
    POLL_PAGES,
    TELLTALE,
    check_policy,
    count,
    html,
    see,
)

pytestmark = [pytest.mark.django_db, pytest.mark.full_only]


# --- joining ---


def test_the_home_page_asks_for_a_code() -> None:
    answer = see("/")
    assert answer.status_code == 200
    source = answer.content.decode()
    assert '<form method="post"' in source
    assert "csrf" not in source
    assert not answer.cookies
    check_policy(source)


@pytest.mark.parametrize("typed", ["WXY346", "wxy346", " wxy 346 ", "WXY-346", "w-x-y 3 4 6"])
def test_a_code_is_accepted_as_people_type_it(typed: str) -> None:
    make_poll(code="WXY346", open=True)
    answer = Client().get("/", {"code": typed})
    assert (answer.status_code, answer["Location"]) == (302, "/p/WXY346/")


FOLDED = [
    "Ｋ７ＭＤＸ３",
    "ｋ７ｍｄｘ３",
    "K٧MDX٣",
    "k۷mdx۳",
    "Ｋ７ ＭＤ－Ｘ３",
    "𝐊𝟕𝐌𝐃𝐗𝟑",
    "K7MDX③",
    "#K7MDX3\u200b",
]


@pytest.mark.parametrize("typed", FOLDED)
def test_full_width_letters_and_digits_of_any_script_are_accepted(typed: str) -> None:
    poll = make_poll(code="K7MDX3", open=True)
    assert Client().post("/", {"code": typed})["Location"] == "/p/K7MDX3/"
    assert see(f"/p/{quote(typed, safe='')}/").status_code == 302
    assert (
        Caller(make_key("polls:read"))("GET", f"{POLLS}{quote(typed, safe='')}/").json()["code"] == poll.code
    )
    assert Caller()("GET", f"{POLLS}{quote(typed, safe='')}/tally/").json()["poll"] == poll.code


def test_codes_of_digits_and_turkish_letters_are_accepted() -> None:
    make_poll(code="346", open=True)
    make_poll(code="ELIF2", open=True)
    assert Client().post("/", {"code": "٣٤٦"})["Location"] == "/p/346/"
    assert (
        Client().post("/", {"code": "ELİF2"})["Location"] == Client().post("/", {"code": "elıf2"})["Location"]
    )


@pytest.mark.parametrize("typed", ["ÄRGER", "A\u0308RGER", "éRGER", "яRGER", "RGER中"])
def test_letters_of_other_scripts_are_not_dropped(typed: str) -> None:
    """If these letters were dropped, the text would be another poll's code."""
    make_poll(code="RGER")
    assert "No poll with this code" in Client().post("/", {"code": typed}).content.decode()
    assert see(f"/p/{quote(typed)}/").status_code == 404


TOKEN = "AbC-_09" * 6
LINKS = [
    ("https://vote.example.org/p/WXY346/", ""),
    ("vote.example.org/p/wxy346", ""),
    ("http://127.0.0.1:8000/p/WXY346/results/?from=mail", ""),
    (f"https://vote.example.org/p/WXY346/#i={TOKEN}", TOKEN),
    (f"https://vote.example.org/p/WXY346#i={TOKEN}.", TOKEN),
    (f"https://vote.example.org/p/WXY346/%23i={TOKEN}", TOKEN),
    (f"https://vote.example.org/p/WXY346%23i={TOKEN}", TOKEN),
    (f"Vote here: <https://vote.example.org/p/WXY346/?utm=x#i={TOKEN}>, today", TOKEN),
    ("https://vote.example.org/p/%EF%BC%B7%EF%BC%B8%EF%BC%B9346/", ""),
    (f"https://vote.example.org/p/WXY346/%2523i%3D{TOKEN}", TOKEN),
    ("https://vote.example.org/?code=wxy346&from=mail", ""),
    ("https://vote.example.org/?from=mail&code=WXY-346", ""),
    ("HTTPS://VOTE.EXAMPLE.ORG/P/WXY346/", ""),
]


@pytest.mark.parametrize(("pasted", "invite"), LINKS)
def test_a_pasted_link_opens_its_poll_with_its_invite(pasted: str, invite: str) -> None:
    make_poll(code="WXY346", open=True)
    answer = Client().post("/", {"code": pasted})
    assert answer.status_code == 302
    assert answer["Location"] == "/p/WXY346/" + (f"#i={invite}" if invite else "")
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize(
    "pasted", ["https://vote.example.org/", "https://vote.example.org/p/NOPE42/", f"#i={TOKEN}"]
)
def test_a_pasted_link_without_a_poll_is_refused(pasted: str) -> None:
    answer = Client().post("/", {"code": pasted})
    assert answer.status_code == 200
    assert "No poll with this code" in answer.content.decode()


@pytest.mark.parametrize("form", ["%23i={}", "/%23i={}", "/%23i%3D{}", "%2523i={}", "/%23i={}/"])
def test_an_invite_link_with_an_encoded_hash_is_repaired(form: str) -> None:
    make_poll(code="WXY346", open=True)
    answer = see("/p/wxy346" + form.format(TOKEN))
    assert (answer.status_code, answer["Location"]) == (302, f"/p/WXY346/#i={TOKEN}")
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("typed", ["NOPE42", "<script>x</script>", '"><b>', "ß" * 30, "x" * 500, "../admin"])
def test_a_wrong_code_is_kept_to_be_corrected(typed: str) -> None:
    answer = Client().get("/", {"code": typed})
    source = answer.content.decode()
    assert answer.status_code == 200
    assert 'aria-invalid="true" aria-describedby="code-error"' in source
    assert 'role="alert"' in source
    assert answer.context["form"]["code"].value() == typed
    assert "<script>x" not in source and "<b>" not in source
    assert "no-cache" in answer["Cache-Control"]


def test_an_empty_code_is_refused() -> None:
    assert "Type the code" in html("/?code=")


# --- the voter's page ---


def test_an_open_poll_is_rendered_without_scripts() -> None:
    poll = make_poll("Tea", "Coffee", question="What will it be?", open=True)
    source = html(f"/p/{poll.code}/")
    assert '<h1 id="question" dir="auto" lang="">What will it be?</h1>' in source
    assert source.partition("<template")[0].count('type="radio"') == 2
    assert "Tea</span>" in source and "Coffee</span>" in source
    assert "<noscript>" in source
    check_policy(source)


def test_a_multiple_choice_poll_has_checkboxes() -> None:
    poll = make_poll("Tea", "Coffee", "Water", method="multiple", max_selections=2, open=True)
    source = html(f"/p/{poll.code}/")
    assert source.partition("<template")[0].count('type="checkbox"') == 3
    assert 'role="group"' in source


@pytest.mark.parametrize("page", POLL_PAGES)
def test_a_drafts_texts_are_not_public(page: str) -> None:
    poll = make_poll(
        "Unripe", "Halfbaked", question="Premature?", opens_at=timezone.now() + timedelta(hours=1)
    )
    source = html(f"/p/{poll.code}/{page}")
    for secret in ("Unripe", "Halfbaked", "Premature"):
        assert secret not in source
    facts = document_of(source)
    assert (facts["state"], facts["question"], facts["choices"]) == ("draft", "", [])
    assert facts["opens_at"]


@pytest.mark.parametrize("page", POLL_PAGES)
@pytest.mark.parametrize("results_visible", ["always", "after_vote", "after_close", "staff"])
def test_no_tally_is_in_a_pages_source(page: str, results_visible: str) -> None:
    poll = make_poll(results_visible=results_visible, open=True)
    empty = html(f"/p/{poll.code}/{page}")
    count(poll)
    source = html(f"/p/{poll.code}/{page}")
    assert source == empty
    assert str(TELLTALE) not in source
    assert not {"votes", "share", "ballots", "selections", "version", "winners"} & set(document_of(source))


def test_the_state_of_a_closed_poll_is_in_its_page() -> None:
    poll = make_poll(open=True)
    lifecycle.close_poll(poll.pk)
    assert document_of(html(f"/p/{poll.code}/"))["state"] in ("closing", "closed")


@pytest.mark.parametrize("page", POLL_PAGES)
def test_texts_cannot_break_out_of_the_page(page: str) -> None:
    poll = make_poll(
        "</script><img src=x onerror=alert(1)>", "<b>bold</b>", question="</title><script>x", open=True
    )
    source = html(f"/p/{poll.code}/{page}")
    assert "<img" not in source and "<b>bold" not in source and "<script>x" not in source
    assert document_of(source)["choices"][1]["label"] == "<b>bold</b>"


@pytest.mark.parametrize(
    "path", ["", *(f"p/WXY346/{page}" for page in (*POLL_PAGES, "receipt/")), "nowhere/"]
)
def test_a_page_has_a_description(path: str) -> None:
    make_poll(code="WXY346")
    (said,) = re.findall(
        r'<meta name="description" content="([^"]{20,160})">', see(f"/{path}").content.decode()
    )
    assert "What?" not in said  # a draft's question is not public


# --- the same for everybody, and cacheable ---


@pytest.mark.parametrize("page", POLL_PAGES)
def test_a_page_is_the_same_for_everybody(page: str) -> None:
    poll = make_poll(results_visible="staff", open=True)
    stranger, voter, staff = Client(), Client(), Client()
    voter.cookies.load(voter.get(f"/api/v1/polls/{poll.code}/voter/")["Set-Cookie"])
    staff.force_login(get_user_model().objects.create_superuser("boss"))
    answers = [see(f"/p/{poll.code}/{page}", client) for client in (stranger, voter, staff)]
    assert len({answer.content for answer in answers}) == 1
    for answer in answers:
        assert not answer.cookies
        assert "cookie" not in answer.get("Vary", "").lower()
        assert "csrf" not in answer.content.decode().lower()


@pytest.mark.parametrize("page", POLL_PAGES)
def test_a_page_may_be_cached_briefly_and_revalidated(page: str) -> None:
    poll = make_poll(open=True)
    answer = see(f"/p/{poll.code}/{page}")
    assert sorted(answer["Cache-Control"].split(", ")) == [
        "max-age=5", "public", "stale-if-error=300", "stale-while-revalidate=30",
    ]  # fmt: skip
    again = see(f"/p/{poll.code}/{page}", If_None_Match=answer["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    lifecycle.close_poll(poll.pk)
    moved = see(f"/p/{poll.code}/{page}", If_None_Match=answer["ETag"])
    assert (moved.status_code, moved["ETag"] != answer["ETag"]) == (200, True)


def test_a_page_costs_two_queries(django_assert_num_queries: object) -> None:
    poll = make_poll(open=True)
    with django_assert_num_queries(2):  # type: ignore[operator]
        html(f"/p/{poll.code}/")


@pytest.mark.parametrize("page", POLL_PAGES)
def test_pages_allow_only_safe_methods(page: str) -> None:
    poll = make_poll(open=True)
    assert Client().head(f"/p/{poll.code}/{page}").status_code == 200
    assert Client().post(f"/p/{poll.code}/{page}").status_code == 405


@pytest.mark.parametrize("cookie", ["sessionid=x", f"sessionid={'x' * 32}", "csrftoken=bad", "messages=bad"])
@pytest.mark.parametrize("page", [*POLL_PAGES, "receipt/"])
def test_cacheable_answers_ignore_broken_cookies(page: str, cookie: str) -> None:
    poll = make_poll(open=True)
    for path in (f"/p/{poll.code}/{page}", f"/api/v1/polls/{poll.code}/tally/"):
        answer = see(path, Cookie=cookie)
        assert "public" in answer["Cache-Control"]
        assert not answer.cookies
        assert "cookie" not in answer.get("Vary", "").lower()


@pytest.mark.parametrize(
    "path", ["/p/NOSUCH/", "/p/NOSUCH/results/", "/p/NOSUCH/receipt/", "/x/", "/static/x"]
)
def test_a_404_is_not_cached(path: str) -> None:
    """Without Cache-Control a cache may store a 404 for as long as it likes (RFC 9111, 4.2.2)."""
    answer = see(path)
    assert (answer.status_code, answer["Cache-Control"]) == (404, "no-store")


@pytest.mark.parametrize("host", ["evil.example", "<b>", "a" * 5000])
def test_a_wrong_host_gets_the_name_of_the_setting(host: str) -> None:
    page = see("/", Host=host)
    assert (page.status_code, page["Cache-Control"]) == (400, "no-store")
    assert "ALLOWED_HOSTS" in page.content.decode()
    assert "<b>" not in page.content.decode() and "a" * 200 not in page.content.decode()
    problem = see("/api/v1/polls/", Host=host)
    assert (problem.status_code, problem.json()["code"]) == (400, "malformed")
    assert "ALLOWED_HOSTS" in problem.json()["detail"]


# --- addresses ---


@pytest.mark.parametrize("page", POLL_PAGES)
@pytest.mark.parametrize("typed", ["wxy346", "WXY-346", "wxy%20346"])
def test_a_code_as_typed_leads_to_the_poll(page: str, typed: str) -> None:
    make_poll(code="WXY346", open=True)
    answer = see(f"/p/{typed}/{page}")
    assert (answer.status_code, answer["Location"]) == (302, f"/p/WXY346/{page}")


@pytest.mark.parametrize("page", POLL_PAGES)
@pytest.mark.parametrize("code", ["NOPE42", "nope42", "---", "%3Cb%3E", "%C3%9F", "x" * 300])
def test_an_unknown_poll_offers_the_join_form(page: str, code: str) -> None:
    answer = see(f"/p/{code}/{page}")
    source = answer.content.decode()
    assert answer.status_code == 404
    assert "No poll with this code" in source and '<form method="post"' in source
    assert "<b>" not in source


def test_any_404_offers_the_join_form() -> None:
    answer = see("/nowhere/")
    assert answer.status_code == 404
    assert '<form method="post"' in answer.content.decode()


def test_the_500_page_renders_without_context() -> None:
    assert "failed on our side" in render_to_string("500.html")


def document_of(source: str) -> dict:
    found = re.search(r'<script id="poll" type="application/json">(.*?)</script>', source)
    assert found
    return json.loads(found[1])


def test_a_page_without_its_database_answers_503_with_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object, **options: object) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr("polls.pages.views.Poll.objects.filter", gone)
    answer = Client(raise_request_exception=False).get("/p/DEMO/")
    assert (answer.status_code, "load it again" in answer.content.decode()) == (503, True)
    assert 1 <= int(answer["Retry-After"]) <= 5
