"""An open-loop load generator: a simulated audience that votes over the public HTTP API.

Open loop: voters arrive at a constant rate, however slow the answers are, as in a real audience. Each voter
opens the page, hesitates, casts one ballot, and retries it with the same ballot_id until it is settled. If
wanted, each voter also holds a socket open until the end, as the page does.
"""

import asyncio
import json
import math
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from polls.management.http_client import Answer, Client, Listener
from polls.methods import METHODS, make_rules

#: Requests at a time: enough to keep a server busy.
CONNECTIONS = 64
#: How long a voter retries before the outcome counts as unknown.
RETRY_SECONDS = 60.0
#: How long requests under way may take after Ctrl-C.
DRAIN_SECONDS = 5.0
COUNT_SECONDS = 10.0
#: Retryable refusals of a request that wrote nothing. After any other retryable answer the ballot may have
#: been accepted.
NOTHING_WRITTEN = (
    *("rate_limited", "overloaded", "unavailable"),
    *("log_inconsistent", "log_unsuitable", "secret_key_differs"),
)
#: Refusals that are final even if an earlier answer was lost: the vote log would know an accepted ballot.
FINAL_REFUSALS = ("already_voted", "ballot_id_reused", "poll_not_open", "round_changed", "poll_not_found")

CLOSED_BECAUSE = {
    "draft": "it is not open yet. Open it in the admin first.",
    "closing": "it is closing.",
    "closed": "it is closed. Reset it in the admin and open it again.",
    "published": "its result is published. Reset it in the admin and open it again.",
}


class CannotVote(Exception):
    """The audience can't vote; the message says why and what to do."""


@dataclass
class Report:
    """The outcomes of all ballots. Latencies are in seconds from a voter's click to the final answer."""

    arrived: int = 0
    cast: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    retries: int = 0
    sockets: int = 0
    sockets_lost: int = 0  # not opened, or closed by the server before the end
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    tally_error: str = ""  # why the tally couldn't be read afterwards

    @property
    def growth(self) -> int | None:
        """The increase of ballots in the visible tally, None if unknown."""
        if not (self.before.get("visible") and self.after.get("visible")):
            return None
        if self.before["round"] != self.after["round"]:
            return None
        return int(self.after["ballots"] - self.before["ballots"])

    def percentile(self, part: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)] if ordered else math.nan


class Preferences:
    """The audience's preferences: uneven, and changing over time, so that the lead may change."""

    def __init__(self, tally: dict[str, Any], rng: random.Random) -> None:
        self._random = rng
        self._method = METHODS[tally["method"]]
        numbers = [choice["number"] for choice in tally["choices"]]
        limits = tally["min_selections"], tally["max_selections"]
        self._rules = make_rules(self._method, numbers, *limits, tally.get("config", {}))
        self._liking = {number: 0.3 + rng.expovariate(1) for number in numbers}
        self._swing = {number: rng.uniform(0, 2 * math.pi) for number in numbers}

    def ballot(self, progress: float) -> dict[str, Any]:
        """Fill in a voter's ballot. `progress` (0 to 1) is the part of the audience that has arrived."""
        weights = {
            number: liking * (1 + 0.8 * math.sin(self._swing[number] + 2 * math.pi * progress))
            for number, liking in self._liking.items()
        }
        return {self._method.field: self._method.sample(self._rules, weights, self._random)}


class Audience:
    """Simulated voters. `await Audience(…).vote()` returns the report. `on_progress` is called per voter."""

    def __init__(
        self,
        url: str,
        code: str,
        voters: int,
        rate: float,
        hesitate: float = 0.0,
        seed: int | None = None,
        sockets: bool = False,
        on_progress: Callable[[Report], None] = lambda _report: None,
    ) -> None:
        self._url, self._api = url, f"/api/v1/polls/{code}/"
        self._sockets = sockets
        self._listeners: list[Listener] = []
        self._code, self._voters, self._rate, self._hesitate = code, voters, rate, hesitate
        self._on_progress = on_progress
        self._random = random.Random(seed)
        self._stop = asyncio.Event()
        self._client = Client(url, CONNECTIONS)
        self._deadline = math.inf
        self.report = Report()

    def stop(self) -> None:
        """Send no new ballots, and end the requests under way after DRAIN_SECONDS at the latest."""
        if not self._stop.is_set():
            self._deadline = time.monotonic() + DRAIN_SECONDS
        self._stop.set()

    async def vote(self) -> Report:
        report = self.report
        try:
            report.before = report.after = await self._fetch_tally()
            if (state := report.before["state"]) in CLOSED_BECAUSE:
                raise CannotVote(f"Nobody can vote in {self._code}: {CLOSED_BECAUSE[state]}")
            if (method := report.before["method"]) not in METHODS:
                raise CannotVote(f"This version can't fill in ballots of the method {method}.")
            self._preferences = Preferences(report.before, self._random)
            started = time.monotonic()
            async with asyncio.TaskGroup() as audience:
                await self._arrive(audience, started)
            report.seconds = time.monotonic() - started
            await self._wait_for_count()
            report.sockets_lost += sum(listener.lost for listener in self._listeners)
        finally:
            for listener in self._listeners:
                listener.close()
            self._client.close()
        return report

    async def _fetch_tally(self) -> dict[str, Any]:
        try:
            answer = await self._client.request("GET", f"{self._api}tally/")
        except OSError as error:
            raise CannotVote(
                f"Nothing answers at {self._url} ({type(error).__name__}). Start Landslide with `make run`, "
                "or name the server with --url."
            ) from None
        problem = code_of(answer)
        if problem == "poll_not_found":
            raise CannotVote(f"There is no poll {self._code} at {self._url}.")
        try:
            tally = answer.json()
            assert answer.status == 200
            assert "choices" in tally
        except (ValueError, AssertionError):
            raise CannotVote(
                f"The server at {self._url} doesn't look like Landslide (status {answer.status})."
            ) from None
        return dict(tally)

    async def _arrive(self, audience: asyncio.TaskGroup, started: float) -> None:
        for n in range(self._voters):
            await self._pause_until_stopped(started + n / self._rate - time.monotonic())
            if self._stop.is_set():
                return
            self.report.arrived += 1
            audience.create_task(self._run_voter(n / self._voters))

    async def _pause_until_stopped(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _run_voter(self, progress: float) -> None:
        try:
            await self._visit(progress)
        finally:
            self._on_progress(self.report)

    async def _visit(self, progress: float) -> None:
        page = await self._fetch(f"/p/{self._code}/", {"Accept-Encoding": "gzip"})
        known = await self._fetch(f"{self._api}voter/", {}) if page else None
        if known is None:
            return
        cookie = f"voter={known.cookie('voter') or ''}"
        if self._sockets:
            await self._open_socket(cookie)
        if self._hesitate:
            await self._pause_until_stopped(self._random.uniform(0, 2 * self._hesitate))
        if self._stop.is_set():
            return
        ballot = {
            **self._preferences.ballot(progress),
            "ballot_id": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "round": known.json()["round"],
        }
        self.report.cast += 1
        clicked = time.monotonic()
        body = json.dumps(ballot).encode()
        answer = await self._send_until_settled("POST", f"{self._api}ballots/", body, {"Cookie": cookie})
        if answer is None:
            self.report.unknown += 1
        elif answer.status == 202:
            self.report.accepted += 1
            self.report.latencies.append(time.monotonic() - clicked)
        else:
            self.report.refused[code_of(answer)] += 1

    async def _fetch(self, path: str, headers: dict[str, str]) -> Answer | None:
        """Return the answer if it was a success; otherwise count the voter as refused."""
        answer = await self._send_until_settled("GET", path, b"", headers)
        if answer is not None and answer.status == 200:
            return answer
        self.report.refused["page_not_reached" if answer is None else code_of(answer)] += 1
        return None

    async def _open_socket(self, cookie: str) -> None:
        try:
            self._listeners.append(await self._client.listen(f"/ws/polls/{self._code}/", cookie))
            self.report.sockets += 1
        except OSError:
            self.report.sockets_lost += 1

    async def _send_until_settled(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> Answer | None:
        """Send a request until its outcome is known. Return the final answer, or None if it stays unknown."""
        give_up = time.monotonic() + RETRY_SECONDS
        tries, refusal, unknown = 0, None, False
        while True:
            tries += 1
            try:
                answer = await self._client.request(method, path, body, headers)
            except OSError:
                asked, unknown = 0.0, True
            else:
                if is_settled(answer, unknown=unknown and method == "POST"):
                    return answer
                asked, refusal = retry_after(answer), answer
                unknown = unknown or code_of(answer) not in NOTHING_WRITTEN
            # Jitter, so that voters who were refused together don't retry together.
            pause = asked + self._random.uniform(0.5, 1) * min(5.0, 0.1 * 2**tries)
            if time.monotonic() + pause > min(give_up, self._deadline):
                return None if unknown else refusal
            self.report.retries += 1
            await asyncio.sleep(pause)

    async def _wait_for_count(self) -> None:
        """Wait at most COUNT_SECONDS for the tally to include all acknowledged ballots."""
        deadline = time.monotonic() + COUNT_SECONDS
        report = self.report
        while True:
            try:
                report.after = await self._fetch_tally()
            except CannotVote as error:
                report.after, report.tally_error = {}, str(error)
                return
            growth = report.growth
            if growth is None or growth >= report.accepted or time.monotonic() > deadline:
                return
            await asyncio.sleep(0.1)


def is_settled(answer: Answer, *, unknown: bool) -> bool:
    """Whether an answer is final. `unknown`: an earlier try of the request may have succeeded."""
    if answer.status >= 500 or answer.status == 429:
        return False
    return answer.status < 300 or not unknown or code_of(answer) in FINAL_REFUSALS


def code_of(answer: Answer) -> str:
    """Return the error code of an answer, or its status if a proxy answered."""
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return f"http_{answer.status}"


def retry_after(answer: Answer) -> float:
    try:
        return max(0.0, float(answer.header("retry-after") or 0))
    except ValueError:
        return 0.0
