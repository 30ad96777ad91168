"""Hidden tallies stay hidden: votes change no byte that is sent to viewers without access.

Two runs with different votes are compared: status, headers and body of the answers of all addresses, and
everything that WebSockets and event streams send while ballots are counted. Only values that differ in every
answer anyway are masked: ids, dates, new cookies, tokens.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from analytics import tasks
from analytics.health import bounded_probes, heartbeats
from analytics.models import Checkpoint, Tally, TallyPoint
from config.asgi import application
from polls import drafts, lifecycle, votelog
from polls.casting.receipts import make_receipt
from polls.keys import newest_fingerprint, voter_secret
from polls.models import (
    ApiClient,
    Ballot,
    Choice,
    Claim,
    LogEntry,
    LogGate,
    LogHead,
    Poll,
    Round,
)  # fmt: skip
from polls.voters import identity
from realtime import hub as hub_module
from realtime import overload
from tests.factories import append, new_ballot
from tests.realtime.asgi_client import Answer, ask, http_scope
from tests.realtime.viewers import Socket, db, until
from tests.servers import PATIENCE

pytestmark = [pytest.mark.django_db(transaction=True)]

THEN = datetime(2026, 5, 4, 18, 0, tzinfo=UTC)
SECRET = b"s" * 32
#: Votes by choice. These primes and their sums are unlikely to occur in an answer by chance.
FEW, MANY = {1: 7919, 2: 1607, 3: 20_011}, {1: 104_729, 2: 60_013, 3: 50_929}
#: The polls by code, with visibility and state. The viewers may see only the last one's tally, which shows
#: that the comparison works.
POLLS = {
    "HIDDENA": ("after_close", "open"),
    "HIDDENB": ("staff", "open"),
    "HIDDENC": ("staff", "closed"),
    "HIDDEND": ("staff", "published"),
    "HIDDENE": ("after_vote", "open"),
    "HIDDENF": ("staff", "again"),
    "SHOWN": ("always", "open"),
}
STEPS = {"closed": ["close"], "published": ["close", "publish"], "again": ["close", "reset", "open"]}


def forget_everything() -> None:
    tables = (
        *(Tally, TallyPoint, Ballot, Claim, LogEntry, LogGate, LogHead, Checkpoint),
        *(Round, Choice, Poll),
    )
    for table in tables:
        table.objects.all().delete()
    if votelog.get_log().name == "redis":
        votelog.get_log()._redis.flushall()  # type: ignore[attr-defined]
    votelog.forget_log()


def make_polls(votes: dict[int, int], voter: str) -> None:
    """Make polls with a few real ballots, one of them by `voter`. The other votes are only in the tally."""
    for pk, (code, (results_visible, state)) in enumerate(POLLS.items(), 700_001):
        fields = {"id": pk, "code": code, "secret": SECRET, "results_visible": results_visible}
        drafts.create_poll(["Ant", "Bee", "Cat"], question=f"Who wins, {code}?", **fields)
        poll = lifecycle.open_poll(pk)
        first = max(votes, key=lambda number: votes[number])
        for number in range(sum(votes.values()) % 7 + 2):
            append(new_ballot(poll, number, first, ballot_id=bytes([number]) * 16))
        if results_visible != "after_vote":
            token = identity.read_cookie(voter)
            assert token
            key = int.from_bytes(
                identity.browser_key(voter_secret(SECRET, newest_fingerprint()), token), "big"
            )
            append(new_ballot(poll, key, first, ballot_id=b"own ballot's id."))
        tasks.sweep()
        for key, count in {"ballots": sum(votes.values()), **votes}.items():
            for table, when in ((Tally, {}), (TallyPoint, {"second": int(THEN.timestamp())})):
                more = {"changes": count} if table is Tally else {}
                table.objects.create(
                    poll_id=pk, round=1, key=str(key), partition=99, count=count, **when, **more
                )
        for step in {
            "closed": ["close"],
            "published": ["close", "publish"],
            "again": ["close", "reset", "open"],
        }.get(state, []):
            lifecycle.STEPS[step](pk)
            tasks.sweep()
    for name in ("opens_at", "closed_at", "published_at", "created_at"):
        if name in {field.name for field in Poll._meta.get_fields()}:
            Poll.objects.exclude(**{name: None}).update(**{name: THEN})


# --- addresses and viewers ---


def routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every address of the application: its pattern, and the parameters to fill in."""
    for each in (resolver or get_resolver()).url_patterns:
        pattern = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from routes(each, pattern)
        else:
            assert isinstance(each, URLPattern)
            yield pattern, each.pattern.converters


def addresses(receipt: str) -> list[str]:
    """Return every route, filled in for every poll. Other parameters are a code or a number.

    The admin's pages refuse all viewers alike, so each is requested for one poll only.
    """
    found: dict[str, None] = {}
    for pattern, _ in routes():
        for pk, code in list(enumerate(POLLS, 700_001))[: 1 if pattern.startswith("admin/") else None]:
            known = {"code": code, "receipt": receipt, "object_id": str(pk), "round": "1", "number": "1"}

            def fill(match: re.Match[str], known: dict[str, str] = known, pk: int = pk) -> str:
                kind, _, name = match[1].rpartition(":")
                return known.get(name, str(pk) if kind == "int" else known["code"])

            path = re.sub(r"<([^<>]+)>", fill, pattern)
            path = re.sub(r"\(\?P?(?:<\w+>)?[^()]*\)", code, path)  # a regular expression's groups
            found["/" + re.sub(r"[\^$\\?]", "", path)] = None
    return list(found)


def test_addresses_of_every_kind_are_covered() -> None:
    found = addresses("receipt")
    assert {"/", "/p/HIDDENA/", "/p/HIDDENA/results/", "/p/SHOWN/present/", "/metrics", "/readyz"} <= set(
        found
    )
    assert "/api/v1/polls/HIDDENC/tally/" in found
    assert "/api/v1/receipts/receipt/" in found
    assert "/admin/polls/poll/700001/change/" in found
    assert not [path for path in found if "<" in path or "(" in path]


def viewers(voter: str) -> dict[str, list[tuple[bytes, bytes]]]:
    """Return the viewers without access, each with the headers it sends."""
    user = Client()
    user.force_login(get_user_model().objects.create_user("someone"))
    _, key = ApiClient.objects.create_key(name="third party", scopes=["polls:read"])
    return {
        "anybody": [],
        "a voter": [(b"cookie", f"voter={voter}".encode())],
        "a user": [(b"cookie", f"sessionid={user.cookies['sessionid'].value}".encode())],
        "a client": [(b"authorization", f"Api-Key {key}".encode())],
    }


# --- requests ---

#: Event streams never end, so only `watched` reads them.
STREAM = "/stream/"
#: The schema is the same for every viewer and takes half a second to render, so it is requested only once.
SCHEMA = "/api/schema/"


Seen = dict[tuple[str, ...], bytes]


async def everything(paths: list[str], who: dict[str, list[tuple[bytes, bytes]]]) -> Seen:
    """Return status, headers and body of all answers, including errors and those to HEAD and OPTIONS."""
    answers = {}
    for name, headers in who.items():
        for path in paths:
            if path.startswith("/admin/") and name not in ("anybody", "a user"):
                continue
            if name == "a client" and "/api/" not in path:  # keys work only for the API
                continue
            if path == SCHEMA and name != "anybody":
                continue
            for method in ["GET", "HEAD", "OPTIONS"] if name == "anybody" and "/api/" in path else ["GET"]:
                if path.endswith(STREAM) and method == "GET":
                    continue
                sent = [(b"host", b"testserver"), *headers]
                answers[name, method, path] = told(await ask(application, http_scope(method, path, sent)))
    return answers


def told(answer: Answer) -> bytes:
    head = b"".join(b"%b: %b\n" % header for header in sorted(answer.headers))
    return b"%d\n%b\n%b" % (answer.status, head, answer.body)


#: Values that differ from one answer to the next.
NONCES = re.compile(
    rb"(?<=x-request-id: )\w+"
    rb"|(?i:set-cookie): [^\n]*"
    rb'|(?<=csrfmiddlewaretoken" value=")\w+'
    rb"|(?<=nonce[-=])\"?[\w+/=-]+"
    rb'|(?<="challenge":")\w+|(?<="salt":")[^"]+|(?<="signature":")\w+'
)
DATES = re.compile(rb"(?<=[dD]ate: )[^\n]+|(?<=expires: )[^\n]+|(?<=last-modified: )[^\n]+", re.I)


def bare(answer: bytes) -> bytes:
    return DATES.sub(b"?", NONCES.sub(b"?", answer))


# --- viewers while ballots are counted ---

WATCHED_SECONDS = 1.3  # longer than the time between two checks of the hub


async def watched(voter: str, batches: int) -> Seen:
    """Return what sockets and streams of each poll receive while this many batches are counted."""
    got: dict[tuple[str, ...], list[bytes]] = {}
    leaving = asyncio.Event()
    watching = []
    for code in POLLS:
        for name, headers in {"anybody": [], "a voter": [(b"cookie", f"voter={voter}".encode())]}.items():
            sent = [(b"host", b"testserver"), *headers]
            socket = Socket(code, sent)
            connected, _ = await socket.raw.connect(timeout=PATIENCE)
            assert connected
            watching.append(asyncio.ensure_future(hear(socket, got.setdefault((name, "socket", code), []))))
            stream = read(code, sent, got.setdefault((name, "stream", code), []), leaving)
            watching.append(asyncio.ensure_future(stream))
    await until(lambda: all(b'"type":"tally"' in b"".join(heard) for heard in got.values()))
    for batch in range(batches):
        await db(more_ballots)(batch)
        await asyncio.sleep(WATCHED_SECONDS / batches / 2)
    await asyncio.sleep(WATCHED_SECONDS)
    leaving.set()
    for each in watching:
        each.cancel() if not each.done() else None
    await asyncio.gather(*watching, return_exceptions=True)
    return {where: b"\n".join(without_viewers(heard)) for where, heard in got.items()}


def more_ballots(batch: int) -> None:
    for poll in Poll.objects.filter(state="open"):
        append(*(new_ballot(poll, 1000 + 10 * batch + n, 1) for n in range(1 + batch % 3)))
    tasks.sweep()


async def hear(socket: Socket, heard: list[bytes]) -> None:
    try:
        while True:
            heard.append((await socket.raw.receive_from(timeout=PATIENCE)).encode())
    finally:
        await socket.raw.disconnect(timeout=PATIENCE)


async def read(code: str, headers: Any, heard: list[bytes], leaving: asyncio.Event) -> None:
    async def receive() -> dict[str, Any]:
        await leaving.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            heard.append(told(Answer(message["status"], message["headers"])))
        else:
            heard.append(message["body"])

    accept = (b"accept", b"text/event-stream")
    await application(http_scope("GET", f"/api/v1/polls/{code}/stream/", [*headers, accept]), receive, send)


def without_viewers(heard: list[bytes]) -> list[bytes]:
    """Leave out viewer counts and retry times, which are no secret and vary."""
    kept = [part for part in heard if b'"type":"viewers"' not in part]
    return [re.sub(rb"retry: \d+", b"retry: ?", bare(part)) for part in kept]


# --- tests ---


async def look(votes: dict[int, int], voter: str, who: Any, batches: int) -> Seen:
    await db(forget_everything)()
    await db(make_polls)(votes, voter)
    token = identity.read_cookie(voter)
    assert token
    key = identity.browser_key(voter_secret(SECRET, newest_fingerprint()), token)
    own = make_receipt(700_001, 1, key, b"own ballot's id.")
    try:
        seen = {where: bare(answer) for where, answer in (await everything(addresses(own), who)).items()}
        return seen | await watched(voter, batches)
    finally:
        hub = hub_module.current_hub()
        assert hub
        await hub.stop()
        hub_module._hub = None


def of_a_shown_poll(where: tuple[str, ...]) -> bool:
    return "SHOWN" in where[-1] or str(700_000 + len(POLLS)) in where[-1]


def figures(votes: dict[int, int]) -> set[bytes]:
    """Return the numbers that would give these votes away, in every way they may be written."""
    total = sum(votes.values())
    written = {f"{number}" for number in (*votes.values(), total)}
    written |= {f"{number:,}" for number in (*votes.values(), total)}
    return {number.encode() for number in written}


@pytest.mark.slow
async def test_answers_about_hidden_tallies_do_not_depend_on_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine /readyz would report late sweeps, slow stores or overload, and so differ.
    monkeypatch.setattr(heartbeats, "STALE_AFTER", timedelta(hours=1))
    monkeypatch.setattr(bounded_probes, "TIMEOUT_SECONDS", PATIENCE)
    monkeypatch.setattr(overload, "ON_AFTER_SECONDS", 3600)
    voter = identity.new_cookie()
    who = await db(viewers)(voter)
    few = await look(FEW, voter, who, batches=1)
    many = await look(MANY, voter, who, batches=6)
    assert few.keys() == many.keys()
    different = {where for where in few if few[where] != many[where]}
    hidden = {where for where in few if not of_a_shown_poll(where)}
    assert len(hidden) > 300
    for where in sorted(different & hidden)[:3]:
        print(where, few[where].decode(errors="replace"), many[where].decode(errors="replace"), sep="\n\n")
    assert different & hidden == set()
    told = {where for where in hidden if any(figure in few[where] for figure in figures(FEW))}
    # The digits of a public key may contain a figure by chance.
    assert {where for where in told if where[-1] != "/api/v1/audit-key/"} == set()
    # The same comparison finds the public tally.
    control = {("anybody", "GET", "/api/v1/polls/SHOWN/tally/")}
    control |= {(name, kind, "SHOWN") for name in ("anybody", "a voter") for kind in ("socket", "stream")}
    assert control <= different
    for seen, votes in ((few, FEW), (many, MANY)):
        assert all(str(votes[2]).encode() in seen[where] for where in control)


async def test_staff_see_the_hidden_tallies() -> None:
    """The hidden tallies exist: staff, who may see them, get them."""
    staff = Client()
    user = await db(get_user_model().objects.create_superuser)("boss")
    await db(staff.force_login)(user)
    cookie = [(b"cookie", f"sessionid={staff.cookies['sessionid'].value}".encode())]
    await db(forget_everything)()
    await db(make_polls)(FEW, identity.new_cookie())
    for code in POLLS:
        path = f"/api/v1/polls/{code}/tally/"
        answer = await ask(application, http_scope("GET", path, [(b"host", b"testserver"), *cookie]))
        assert (json.loads(answer.body)["ballots"] > FEW[3]) is (code != "HIDDENF"), code
