"""create_api_key, and crowd against a faulty fake server. tests/e2e runs crowd against a real one."""

import json
import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from polls.errors import errors_by_code
from polls.management import audience
from polls.management.audience import Preferences
from polls.management.commands.crowd import own_address
from polls.management.http_client import Answer
from polls.models import ApiClient

# --- create_api_key ---


def printed_key(printed: str) -> str:
    return printed.splitlines()[-1]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "scopes"),
    [
        (["--scope", "polls:read"], ["polls:read"]),
        (["--scope", "polls:write", "--scope", "polls:read"], ["polls:read", "polls:write"]),
        (["--scope", "polls:read", "ballots:write"], ["polls:read", "ballots:write"]),
        (["--scope", "polls:read,polls:write", "--scope", "polls:read"], ["polls:read", "polls:write"]),
    ],
)
def test_a_key_is_printed_alone_on_the_last_line(
    capsys: Any, arguments: list[str], scopes: list[str]
) -> None:
    call_command("create_api_key", "Ticket desk", *arguments)
    printed = capsys.readouterr()
    key = printed_key(printed.out)
    client = ApiClient.objects.get_from_key(key)
    assert (client.name, client.scopes) == ("Ticket desk", scopes)
    assert printed.err == ""
    assert key not in client.hashed_key  # only a hash is stored
    assert printed.out.endswith(key + "\n")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["Desk"], "add --scope"),
        (["Desk", "--scope", "polls:burn"], "no scope polls:burn"),
        ([" ", "--scope", "polls:read"], "name"),
        (["x" * 51, "--scope", "polls:read"], "name"),
    ],
)
def test_an_invalid_key_is_not_created(arguments: list[str], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint) as refused:
        call_command("create_api_key", *arguments)
    if "scope" in complaint:
        assert "polls:read, polls:write, ballots:write" in str(refused.value)
    assert not ApiClient.objects.exists()


# --- crowd ---


class Stage:
    """A fake server with one poll, whose answers a test controls."""

    def __init__(self) -> None:
        self.tally: dict[str, Any] = {
            "poll": "STAGE", "round": 1, "state": "open", "question": "Who?", "visible": True, "ballots": 0,
            "method": "single", "min_selections": 1, "max_selections": 1,
            "choices": [{"number": n, "label": f"Act {n}", "votes": 0, "share": None} for n in (1, 2, 3)],
        }  # fmt: skip
        self.lock = threading.Lock()
        self.arrived: dict[str, list[dict[str, Any]]] = defaultdict(list)  # by voter
        self.ballots: dict[str, list[int]] = {}
        self.fail: list[Any] = []  # the next answers: a status, or None to disconnect
        self.forgets = False
        self.voters = 0

    def look(self) -> dict[str, Any]:
        votes = Counter(number for selection in self.ballots.values() for number in selection)
        choices = [choice | {"votes": votes[choice["number"]]} for choice in self.tally["choices"]]
        return self.tally | {"ballots": len(self.ballots), "choices": choices}

    def cast(self, voter: str, ballot: dict[str, Any]) -> int | None:
        with self.lock:
            self.arrived[voter].append(ballot)
            if self.fail:
                return self.fail.pop()
            if not self.forgets:
                self.ballots[voter] = ballot["selections"]
            return 202


@pytest.fixture
def stage(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def answer(self, status: int, body: Any, **headers: str) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            if "/STAGE/" not in self.path:
                self.answer(404, {"code": "poll_not_found"})
            elif self.path.endswith("/tally/"):
                self.answer(200, stage.look())
            else:
                with stage.lock:
                    stage.voters += 1
                    cookie = f"voter=v{stage.voters}; Path=/; HttpOnly"
                self.answer(200, {"round": 1, "state": "open"}, Set_Cookie=cookie)

        def do_POST(self) -> None:
            ballot = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = stage.cast(self.headers["Cookie"], ballot)
            if status is None:
                self.close_connection = True
                return
            code = {409: "poll_not_open", 503: "overloaded"}.get(status, "")
            self.answer(status, {"code": code}, **({"Retry_After": "0"} if status == 503 else {}))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings.HOST, settings.PORT = "0.0.0.0", server.server_address[1]
    monkeypatch.setattr(audience, "COUNT_SECONDS", 0.5)
    yield stage
    server.shutdown()
    server.server_close()
    thread.join()


def crowd(**options: Any) -> None:
    call_command("crowd", "stage", **{"voters": 12, "rate": 400, "url": own_address(), **options})


def test_each_voter_votes_once(stage: Stage, capsys: Any) -> None:
    crowd()
    assert len(stage.ballots) == len(stage.arrived) == 12
    ballots = [ballot for arrived in stage.arrived.values() for ballot in arrived]
    assert len({ballot["ballot_id"] for ballot in ballots}) == len(ballots) == 12
    assert {ballot["round"] for ballot in ballots} == {1}
    assert "All 12 acknowledged ballots are counted." in capsys.readouterr().out


@pytest.mark.parametrize("failure", [503, None])
def test_an_unsettled_ballot_is_retried_unchanged(stage: Stage, failure: int | None) -> None:
    stage.fail = [failure] * 5
    crowd()
    assert len(stage.ballots) == 12
    repeated = [arrived for arrived in stage.arrived.values() if len(arrived) > 1]
    assert sum(len(arrived) - 1 for arrived in repeated) == 5
    assert all(ballot == arrived[0] for arrived in repeated for ballot in arrived)


def test_refusals_fail_and_are_reported_by_code(stage: Stage, capsys: Any) -> None:
    stage.fail = [409] * 3
    with pytest.raises(CommandError, match="3 voters were refused: poll_not_open"):
        crowd()
    assert "refused: poll_not_open" in capsys.readouterr().out
    assert len(stage.ballots) == 9


def test_an_acknowledged_ballot_that_is_not_counted_fails(stage: Stage) -> None:
    stage.forgets = True
    with pytest.raises(CommandError, match="12 ballots were acknowledged, but the tally grew by 0 only"):
        crowd()


def test_other_peoples_ballots_fail_unless_expected(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = stage.cast

    def two_for_one(voter: str, ballot: dict[str, Any]) -> int | None:
        stage.ballots[f"other than {voter}"] = [1]
        return counted(voter, ballot)

    monkeypatch.setattr(stage, "cast", two_for_one)
    with pytest.raises(CommandError, match="--others-vote"):
        crowd()
    crowd(others_vote=True)


@pytest.mark.parametrize(
    ("failures", "outcome"),
    [
        ([503], "4 voters were refused: overloaded"),
        ([None], "4 ballots have no known outcome"),
        ([None, 503], "have no known outcome"),  # the first try may have been accepted
        ([502], "4 ballots have no known outcome"),
        ([500], "4 ballots have no known outcome"),
    ],
)
def test_unsettled_ballots_are_reported_after_the_retries(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, failures: list[int | None], outcome: str
) -> None:
    monkeypatch.setattr(audience, "RETRY_SECONDS", 0.5)
    stage.fail = failures * 10_000
    with pytest.raises(CommandError, match=outcome):
        crowd(voters=4)


def test_page_and_crowd_know_every_retryable_refusal() -> None:
    """All retryable errors but one say that nothing was written."""
    casting = [error for error in errors_by_code().values() if error.__module__ == "polls.errors"]
    passing = {error.code for error in casting if error.status in (429, 503)}
    assert set(audience.NOTHING_WRITTEN) == passing - {"outcome_unknown"}
    page = (django_settings.BASE_DIR / "static/js/vote/answer.js").read_text()
    (listed,) = re.findall(r"const UNWRITTEN = (\[.*?\]);", page, re.DOTALL)
    assert {*json.loads(listed), "rate_limited"} == set(audience.NOTHING_WRITTEN)


@pytest.mark.parametrize(
    ("status", "code", "at_once", "in_doubt"),
    [
        (202, "", True, True),
        (409, "poll_not_open", True, True),  # the log would know the ballot of an earlier try
        (403, "not_eligible", True, False),
        (429, "rate_limited", False, False),
        (503, "unavailable", False, False),
        (500, "internal_error", False, False),
    ],
)
def test_after_an_unknown_outcome_only_the_logs_refusals_are_final(
    status: int, code: str, at_once: bool, in_doubt: bool
) -> None:
    answer = Answer(status, [], json.dumps({"code": code}).encode())
    assert audience.is_settled(answer, unknown=False) == at_once
    assert audience.is_settled(answer, unknown=True) == in_doubt


@pytest.mark.parametrize("state", ["draft", "closing", "closed", "published"])
def test_a_poll_that_is_not_open_gets_no_voters(stage: Stage, state: str) -> None:
    stage.tally["state"] = state
    with pytest.raises(CommandError, match="Nobody can vote in STAGE"):
        crowd()
    assert not stage.voters


def test_a_hidden_tally_is_no_failure(stage: Stage, capsys: Any) -> None:
    stage.tally["visible"] = False
    crowd()
    assert "the results are hidden" in capsys.readouterr().out


def test_a_wrong_address_is_reported(stage: Stage) -> None:
    with pytest.raises(CommandError, match="There is no poll OTHER"):
        call_command("crowd", "OTHER", url=own_address())
    with pytest.raises(CommandError, match=r"Nothing answers at http://127\.0\.0\.1:1 "):
        crowd(url="http://127.0.0.1:1")
    with pytest.raises(CommandError, match="--url takes an address"):
        crowd(url="127.0.0.1:8000")
    with pytest.raises(CommandError, match="--voters and --rate"):
        crowd(rate=0)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:9000"),
        ("::", "http://127.0.0.1:9000"),
        ("::1", "http://[::1]:9000"),
        ("poll.local", "http://poll.local:9000"),
    ],
)
def test_the_default_address_comes_from_the_settings(settings: Any, host: str, address: str) -> None:
    settings.HOST, settings.PORT = host, 9000
    assert own_address() == address


@pytest.mark.parametrize(("least", "most"), [(1, 1), (1, 3), (2, 2), (3, 9)])
def test_selections_are_uneven_and_valid(least: int, most: int) -> None:
    tally = {
        "method": "multiple", "min_selections": least, "max_selections": most,
        "choices": [{"number": n} for n in (2, 3, 5, 7)],
    }  # fmt: skip
    taste = Preferences(tally, random.Random(1))
    votes: Counter[int] = Counter()
    for n in range(500):
        selection = taste.ballot(n / 500)["selections"]
        assert least <= len(selection) <= min(most, 4)
        assert len(set(selection)) == len(selection)
        votes.update(selection)
    assert set(votes) == {2, 3, 5, 7}
    if most == 1:
        assert max(votes.values()) > 2 * min(votes.values())
