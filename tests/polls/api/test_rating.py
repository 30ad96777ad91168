"""A rating over the API: the draft and its config, ballots, batches, revotes, the tally, hidden results."""

import json
import random
from typing import Any

import pytest
from django.test import Client

from analytics.counting import closing
from polls import drafts, lifecycle
from polls.casting.cast import cast_and_wait
from polls.casting.request import CastRequest
from polls.errors import Malformed
from polls.models import ApiClient, Ballot, Poll
from polls.voters import identity, poll_rules
from tests.factories import cast, check_books, count, make_poll, open_poll

pytestmark = pytest.mark.django_db(transaction=True)


def rating(choices: int = 2, **fields: Any) -> Poll:
    return open_poll(**{"method": "rating", "choices": choices} | fields)


def rate(poll: Poll, cookie: str | None = None, **body: Any) -> tuple[int, dict[str, Any]]:
    """Cast a ballot with this body, from the voter with this cookie or from a new one."""
    content = json.dumps(body).encode()
    cookie = cookie or identity.new_cookie()
    answer = cast_and_wait(CastRequest(poll.code, content, "application/json", "testserver", cookie=cookie))
    return answer.status, json.loads(answer.body)


def tally(poll: Poll) -> dict[str, Any]:
    answer: dict[str, Any] = Client().get(f"/api/v1/polls/{poll.code}/tally/").json()
    return answer


@pytest.fixture
def key() -> dict[str, str]:
    _client, key = ApiClient.objects.create_key(name="Quiz", scopes=["polls:write", "ballots:write"])
    return {"HTTP_AUTHORIZATION": f"Api-Key {key}"}


NEW = {"question": "How was it?", "choices": ["Talk", "Food"], "method": "rating"}


@pytest.mark.parametrize(
    ("config", "stored"),
    [
        (None, {"style": "numbers", "scale": 5, "low_label": "", "high_label": ""}),
        ({"scale": 7}, {"style": "numbers", "scale": 7, "low_label": "", "high_label": ""}),
        (
            {"style": "nps", "low_label": "  not   at all "},
            {"style": "nps", "scale": 10, "low_label": "not at all", "high_label": ""},
        ),
    ],
)
def test_a_rating_is_made_with_its_config(key: dict[str, str], config: Any, stored: dict[str, Any]) -> None:
    body = NEW | ({"config": config} if config else {})
    answer = Client().post("/api/v1/polls/", body, "application/json", **key)
    assert answer.status_code == 201, answer.json()
    made = answer.json()
    assert (made["config"], made["min_selections"], made["max_selections"]) == (stored, 1, 2)
    url = f"/api/v1/polls/{made['code']}/"
    changed = Client().patch(url, {"config": {"style": "stars"}}, "application/json", **key).json()
    assert changed["config"] == {"style": "stars", "scale": 5, "low_label": "", "high_label": ""}
    # `single` has no config.
    limits = {"method": "single", "max_selections": 1}
    assert "config" not in Client().patch(url, limits, "application/json", **key).json()


def test_the_texts_of_a_draft_are_hidden() -> None:
    poll = make_poll(method="rating", config={"style": "stars", "low_label": "poor", "high_label": "stellar"})
    assert tally(poll)["config"] == {"style": "stars", "scale": 5, "low_label": "", "high_label": ""}
    assert "stellar" not in Client().get(f"/p/{poll.code}/").content.decode()
    lifecycle.open_poll(poll.pk)
    assert tally(poll)["config"]["high_label"] == "stellar"


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"scale": 11}, "scale"),
        ({"scale": "5"}, "scale"),
        ({"scale": 5, "style": "nps"}, "scale"),
        ({"style": "smileys"}, "style"),
        ({"low_label": "\u202e"}, "low_label"),
        ({"low_label": "x" * 61}, "low_label"),
        ({"low_label": "\u0958" * 60}, "low_label"),  # twice as long in NFC
        ({"more": 1}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_wrong_config_is_refused_by_field(key: dict[str, str], config: Any, field: str | None) -> None:
    answer = Client().post("/api/v1/polls/", NEW | {"config": config}, "application/json", **key)
    assert answer.status_code == 400
    errors = answer.json()["errors"]["config"]
    assert field is None or list(errors) == [field]
    assert not Poll.objects.exists()


def test_other_methods_have_no_config() -> None:
    with pytest.raises(Malformed):
        make_poll(config={"scale": 5})
    assert make_poll(config={}).config == {}


def test_from_ballots_to_the_tally() -> None:
    poll = rating()
    for ratings in ({"1": 5, "2": 1}, {"1": 4}, {"1": 5, "2": None}):
        assert rate(poll, ratings=ratings)[0] == 202
    count()
    assert check_books(poll) == {
        (1, key): n for key, n in {"ballots": 3, "1:5": 2, "1:4": 1, "2:1": 1}.items()
    }
    found = tally(poll)
    assert (found["ballots"], found["answers"], found["base"]) == (3, 4, "answers")
    assert found["choices"][0] == {
        "number": 1,
        "label": "Choice 1",
        "answers": 3,
        "distribution": [0, 0, 0, 1, 2],
        "mean": 4.7,
        "median": 5.0,
    }
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    assert tally(poll)["winners"] == []
    assert poll.rounds.get().result["choices"] == found["choices"]


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ({"ratings": {"1": 6}}, "invalid_selection", "off_scale"),
        ({"ratings": {"3": 1}}, "invalid_selection", "unknown_choice"),
        ({"ratings": {}}, "invalid_selection", "too_few"),
        ({"ratings": {"1": "5"}}, "malformed", None),
        ({"ratings": {"x": 5}}, "malformed", None),
        ({"ratings": [5]}, "malformed", None),
        ({"selections": [1]}, "malformed", None),
        ({"ratings": {"1": 5}, "selections": [1]}, "malformed", None),
        ({}, "malformed", None),
    ],
)
def test_an_invalid_ballot_is_refused(body: dict[str, Any], code: str, reason: str | None) -> None:
    status, answer = rate(rating(), **body)
    assert (status, answer["code"], answer.get("reason")) == (400, code, reason)


def test_a_rating_given_twice_is_refused() -> None:
    poll = rating()
    answer = Client().post(
        f"/api/v1/polls/{poll.code}/ballots/",
        '{"ratings": {"1": 5, "1": 1}}',
        "application/json",
        HTTP_COOKIE=f"voter={identity.new_cookie()}",
    )
    assert answer.json()["code"] == "malformed"


def test_a_revote_replaces_all_ratings() -> None:
    poll, cookie = rating(revote=True), identity.new_cookie()
    _status, first = rate(poll, cookie, ratings={"1": 5, "2": 5})
    assert rate(poll, cookie, ratings={"2": 1}, replaces=first["ballot_id"])[0] == 202
    count()
    assert check_books(poll) == {(1, "ballots"): 1, (1, "2:1"): 1}


def test_a_batch(key: dict[str, str]) -> None:
    poll = rating()
    ballots = [{"ratings": {"1": 5}, "voter": "a"}, {"ratings": {"1": 9}, "voter": "b"}, {"voter": "c"}]
    answer = Client().post(
        f"/api/v1/polls/{poll.code}/ballots/batch/", {"ballots": ballots}, "application/json", **key
    )
    outcomes = answer.json()["outcomes"]
    assert [each.get("code", each.get("status")) for each in outcomes] == [
        "accepted",
        "invalid_selection",
        "malformed",
    ]


@pytest.mark.parametrize("by_batch", [False, True])
def test_a_poll_may_change_its_method_between_rounds(key: dict[str, str], by_batch: bool) -> None:
    """Cached rules, which are of the earlier method, must not refuse a ballot."""
    poll = open_poll()
    assert cast(poll, [1])[0] == 202
    count()
    lifecycle.reset_poll(poll.pk)
    drafts.change_poll(poll.pk, method="rating", max_selections=3)
    cached = dict(poll_rules._cache)
    lifecycle.open_poll(poll.pk)
    poll_rules._cache.update(cached)
    poll.refresh_from_db()
    if by_batch:
        ballots = {"ballots": [{"ratings": {"1": 5}, "voter": "a", "round": 2}]}
        answer = Client().post(
            f"/api/v1/polls/{poll.code}/ballots/batch/", ballots, "application/json", **key
        )
        assert answer.json()["outcomes"][0]["status"] == "accepted"
    else:
        assert rate(poll, ratings={"1": 5}, round=2)[0] == 202
        # A late ballot of the first round gets `round_changed`, not `malformed`.
        assert cast(poll, [1], round=1)[1]["code"] == "round_changed"
    count()
    assert set(Ballot.objects.values_list("round", "selection")) == {(1, "1"), (2, "1:5")}


@pytest.mark.parametrize("state", ["open", "closed"])
def test_a_hidden_rating_shows_no_figure(state: str) -> None:
    poll = rating(results_visible="staff")
    before = tally(poll)
    for value in range(1, 6):
        rate(poll, ratings={"1": value})
    count()
    if state == "open":
        assert tally(poll) == before
    else:
        lifecycle.close_poll(poll.pk)
        count()
        closing.close_counted_polls()
    shown = json.dumps(tally(poll))
    assert not {"answers", "distribution", "mean", "median", "ballots", "winners"} & set(json.loads(shown))
    assert tally(poll)["choices"] == before["choices"]


def test_a_net_promoter_score() -> None:
    poll = rating(1, config={"style": "nps"})
    rng = random.Random(3)
    given = [rng.randint(0, 10) for _ in range(40)]
    for value in given:
        assert rate(poll, ratings={"1": value})[0] == 202
    count()
    (item,) = tally(poll)["choices"]
    assert item["distribution"] == [given.count(value) for value in range(11)]
    promoters, detractors = sum(value > 8 for value in given), sum(value < 7 for value in given)
    assert (item["promoters"], item["detractors"]) == (promoters, detractors)
    assert abs(item["score"] - 100 * (promoters - detractors) / 40) <= 0.5
    assert item["margin"] > 0
    assert sum(item["shares"]) == 100
