"""A method that a test writes into a temporary folder works from the ballot to the bundle.

It is unlike the others: voters spend ten points, so a ballot has weights, and its field and its figures have
names of their own. docs/adding.md adds another one, with its part of the pages.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

import polls.methods
from analytics.audit import recount
from analytics.counting import closing
from polls import lifecycle
from polls.casting import request as casting_request
from polls.casting.cast import cast_and_wait
from polls.casting.request import CastRequest
from polls.management.audience import Preferences
from polls.models import Ballot, Poll
from polls.voters import identity
from tests.analytics.audit_bundles import bundle_of, content_of
from tests.factories import count, open_poll

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("toy")]

TOY = """
from typing import Annotated, Any

import msgspec

from polls.errors import InvalidSelection
from polls.methods.contract import Method, ResultRow, ResultTable, RulesError


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    points: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10


class Points(Method):
    name = "points"
    label = "Points"
    field = "points"
    Marks = dict[int, Annotated[int, msgspec.Meta(ge=1)]]
    field_help = "Points by choice."
    Config = Config
    config_texts = {"points": ("Points", "How many each voter spends.")}

    def default_limits(self, count):
        return 1, count

    def check_rules(self, rules):
        if len(rules.numbers) < 2:
            raise RulesError("Two choices.", "choices")

    def check(self, rules, marks):
        if not set(marks) <= rules.numbers:
            raise InvalidSelection("Unknown.", reason="unknown_choice")
        if sum(marks.values()) != rules.config.points:
            raise InvalidSelection("Spend them all.", reason="points")
        return ",".join(f"{number}:{points}" for number, points in sorted(marks.items()))

    def decode(self, selection):
        return {int(n): int(p) for n, p in (mark.split(":") for mark in selection.split(","))}

    def keys(self, rules):
        return [str(number) for number in sorted(rules.numbers)]

    def key_label(self, key, labels):
        return labels.get(int(key), key)

    def cells(self, selection):
        return {str(number): points for number, points in self.decode(selection).items()}

    def totals(self, rules, counts):
        return {"choices": {n: {"points": counts.get(str(n), 0)} for n in sorted(rules.numbers)}}

    def figures(self, rules, counts, ballots):
        return {**self.totals(rules, counts), "spent": rules.config.points * ballots}

    def winners(self, rules, counts):
        most = max(counts.get(str(n), 0) for n in rules.numbers)
        return [n for n in sorted(rules.numbers) if most and counts.get(str(n), 0) == most]

    def table(self, result):
        rows = [ResultRow(each["label"], False, [each["points"]]) for each in result.get("choices", [])]
        return ResultTable(["Choice", "Points"], rows)

    def sample(self, rules, liking, rng):
        return {rng.choice(sorted(liking)): rules.config.points}


METHOD = Points()
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the module into the package's path, and its name into the registry."""
    (tmp_path / "points.py").write_text(TOY)
    monkeypatch.setattr(polls.methods, "__path__", [*polls.methods.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    method = importlib.import_module("polls.methods.points").METHOD
    monkeypatch.setitem(polls.methods.METHODS, method.name, method)
    yield
    casting_request._decoders.pop(method)
    del sys.modules["polls.methods.points"]


def spend(
    poll: Poll, points: dict[str, int], cookie: str | None = None, **more: Any
) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"points": points, **more}).encode()
    cookie = cookie or identity.new_cookie()
    answer = cast_and_wait(CastRequest(poll.code, body, "application/json", "testserver", cookie=cookie))
    return answer.status, json.loads(answer.body)


def test_from_the_ballot_to_the_bundle() -> None:
    poll = open_poll(method="points", revote=True, config={"points": 7})
    cookie = identity.new_cookie()
    _status, first = spend(poll, {"1": 7}, cookie)
    assert spend(poll, {"1": 2, "3": 5}, cookie, replaces=first["ballot_id"])[0] == 202
    assert spend(poll, {"3": 7})[0] == 202
    assert spend(poll, {"3": 8})[1]["reason"] == "points"
    assert spend(poll, {"9": 7})[1]["reason"] == "unknown_choice"
    count()
    tally = Client().get(f"/api/v1/polls/{poll.code}/tally/").json()
    assert tally["config"] == {"points": 7}
    assert (tally["ballots"], tally["spent"]) == (2, 14)
    assert [choice["points"] for choice in tally["choices"]] == [2, 0, 12]
    assert recount.recount(poll.rounds.get()).drifted == []
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    poll = lifecycle.publish_poll(poll.pk)
    assert Client().get(f"/api/v1/polls/{poll.code}/tally/").json()["winners"] == [3]
    files = content_of(bundle_of(poll))
    assert files["ballots.csv"] == b"selection\n1:2 3:5\n3:7\n"
    figures = json.loads(files["tally.json"])["counted"]
    assert [choice["points"] for choice in figures["choices"]] == [2, 0, 12]
    assert figures["winners"] == [3]
    assert json.loads(files["manifest.json"])["rules"]["config"] == {"points": 7}
    assert set(Ballot.objects.values_list("selection", flat=True)) == {"1:2,3:5", "3:7"}


def test_its_earlier_rounds_are_shown() -> None:
    poll = open_poll(method="points")
    assert spend(poll, {"2": 10})[0] == 202
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    lifecycle.publish_poll(poll.pk)
    lifecycle.reset_poll(poll.pk)
    source = Client().get(f"/p/{poll.code}/rounds/").content.decode()
    assert "Points" in source and ">10<" in source


def test_a_simulated_audience_can_fill_it_in() -> None:
    import random

    poll = open_poll(method="points")
    tally = Client().get(f"/api/v1/polls/{poll.code}/tally/").json()
    ballot = Preferences(tally, random.Random(1)).ballot(0.5)
    assert sum(ballot["points"].values()) == 10
    assert spend(poll, {str(number): points for number, points in ballot["points"].items()})[0] == 202
