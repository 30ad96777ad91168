"""The base class of the stateful test: it drives a poll and its model, and checks them after each step."""

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any
from unittest import mock

import redis
from django.conf import settings
from django.db import OperationalError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from analytics.models import Checkpoint, Tally, TallyPoint
from analytics.results import tallies
from polls import votelog
from polls.casting import receipts
from polls.casting.cast import cast_and_wait
from polls.casting.request import CastRequest
from polls.models import (
    ApiClient,
    Ballot,
    Choice,
    Claim,
    DeadLetter,
    LogEntry,
    LogGate,
    LogHead,
    Poll,
    Round,
)
from polls.votelog import get_log
from polls.voters import identity
from tests.analytics.poll_model import COUNTED, DEAD_LETTER, REJECTED, Cast, PollModel
from tests.factories import make_poll, recount, tallied

LOG_TABLES = (LogEntry, Claim, LogGate, LogHead)
TABLES = (Checkpoint, Tally, TallyPoint, Ballot, DeadLetter, Round, Choice, Poll)
#: How many ballots of a voter the log remembers: few, so that it forgets some within a short run.
REMEMBERED = 4
BROWSERS, CLIENTS = range(3), range(3, 6)


class Crashed(BaseException):
    """A crash. Like SIGKILL, it can't be caught by the product's code, and rolls open transactions back."""


@contextlib.contextmanager
def crashing(target: str, when: str, time: int) -> Iterator[None]:
    """Crash before or after the `time`th call of `target`."""
    module, _, name = target.rpartition(".")
    work = getattr(import_module(module), name)
    left = time

    def worked(*args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and when == "before":
            raise Crashed
        result = work(*args, **options)
        if left == 0:
            raise Crashed
        return result

    with mock.patch(target, worked), contextlib.suppress(Crashed):
        yield


class PollStateMachine(RuleBasedStateMachine):
    """A poll in the real stores, and the model that it is compared with."""

    client: ApiClient
    key: str

    @initialize(revote=st.booleans(), method=st.sampled_from(["single", "multiple"]))
    def begin(self, revote: bool, method: str) -> None:
        fresh_stores()
        self.poll = make_poll(revote=revote, method=method, id=1, secret=b"s" * 32)
        self.cookies = {voter: cookie_of(voter) for voter in BROWSERS}
        self.casts: list[Cast] = []
        self.receipts: dict[tuple[int, bytes, int], str] = {}
        self.stamp = (0, 0, 0)
        self.lost: list[Cast] = []
        votelog.expected_heads(max_age=0)
        heads = {partition: head.position for partition, head in get_log().heads().items()}
        self.model = PollModel(
            poll_id=self.poll.pk,
            revote=revote,
            numbers={1, 2, 3},
            most=1 if method == "single" else 3,
            keys={voter: self.key_of(voter) for voter in (*BROWSERS, *CLIENTS)},
            heads=heads,
            remembered=REMEMBERED,
        )

    def key_of(self, voter: int) -> bytes:
        secret = self.poll.voter_secret()
        if voter in CLIENTS:
            return identity.client_key(secret, self.client, str(voter))
        token = identity.read_cookie(self.cookies[voter])
        assert token
        return identity.browser_key(secret, token)

    # --- casting ---

    def new_cast(self, voter: int, marks: tuple[int, ...], replaces: str, round_: str) -> Cast:
        """replaces: nothing, the current ballot or another one. round_: none, the gate's or another one."""
        gate = self.model.gate
        now = gate.round if gate else 1
        current = self.model.current(voter, now)
        named = {"nothing": None, "current": current.ballot_id if current else None, "another": b"?" * 16}
        cast = Cast(
            voter,
            (len(self.casts) + 1).to_bytes(16, "big"),
            marks,
            {"none": None, "now": now, "stale": max(1, now - 1)}[round_],
            named[replaces],
        )
        self.casts.append(cast)
        return cast

    def as_sent(self, cast: Cast) -> dict[str, Any]:
        body: dict[str, Any] = {"selections": cast.marks, "ballot_id": str(uuid.UUID(bytes=cast.ballot_id))}
        body |= {"round": cast.round} if cast.round else {}
        body |= {"replaces": str(uuid.UUID(bytes=cast.replaces))} if cast.replaces else {}
        return body | ({"voter": str(cast.voter)} if cast.voter in CLIENTS else {})

    def expected(self, cast: Cast) -> tuple[str, int]:
        if not self.model.allows(cast.marks):
            return "invalid_selection", 0
        return ("log_inconsistent", 0) if self.model.broken else self.model.cast(self.again(cast))

    @staticmethod
    def again(cast: Cast) -> Cast:
        return Cast(cast.voter, cast.ballot_id, cast.marks, cast.round, cast.replaces)

    def send(self, cast: Cast) -> None:
        cookie = self.cookies.get(cast.voter)
        authorization = None if cookie else f"Api-Key {self.key}"
        body = json.dumps(self.as_sent(cast)).encode()
        asked = CastRequest(
            self.poll.code, body, "application/json", "", cookie=cookie, authorization=authorization
        )
        answer = cast_and_wait(asked)
        self.check_answer(cast, json.loads(answer.body), *self.expected(cast))

    def check_answer(self, cast: Cast, answer: dict[str, Any], code: str, round_: int) -> None:
        """Check an answer. The receipt of an accepted ballot never changes."""
        assert answer.get("code", answer.get("status")) == code, (answer, code)
        if code == "accepted":
            assert uuid.UUID(answer["ballot_id"]).bytes == cast.ballot_id
            receipt = self.receipts.setdefault((cast.voter, cast.ballot_id, round_), answer["receipt"])
            assert answer["receipt"] == receipt

    # --- what holds after each step ---

    @invariant()
    def check_all(self) -> None:
        if not hasattr(self, "model"):
            return  # not begun yet
        self.poll.refresh_from_db()
        self.check_ledger()
        self.check_tally()
        self.check_stamp()
        self.check_poll()
        if not self.model.broken:
            self.check_receipts()

    def check_ledger(self) -> None:
        rows = Ballot.objects.filter(poll_id=self.poll.pk).values_list(
            "round", "voter_key", "ballot_id", "selection"
        )
        found = [((round_, bytes(key)), (bytes(ballot), marks)) for round_, key, ballot, marks in rows]
        assert len(dict(found)) == len(found), "two ballots of a voter in a round"
        assert dict(found) == self.model.ledger()

    def check_tally(self) -> None:
        tally = tallied(self.poll)
        assert tally == recount(self.poll) == tallied(self.poll, TallyPoint)
        rounds = range(1, self.model.round + 1)
        assert tally == {(r, key): n for r in rounds for key, n in self.model.tally(r).items()}

    def check_stamp(self) -> None:
        stamp = tallies.snapshot(self.poll).stamp
        assert stamp >= self.stamp
        self.stamp = stamp

    def check_poll(self) -> None:
        assert (self.poll.state, self.poll.round) == (self.model.state, self.model.round)
        for row in Round.objects.filter(poll=self.poll):
            result = self.model.results.get(row.number)
            assert (row.result is None) == (result is None)
            if result is not None:
                assert row.result["ballots"] == result.get("ballots", 0)
                votes = {str(choice["number"]): choice["votes"] for choice in row.result["choices"]}
                assert votes == {number: result.get(number, 0) for number in votes}

    def check_receipts(self) -> None:
        for chain in self.model.chains.values():
            for cast in chain[-2:]:
                receipt = receipts.make_receipt(
                    self.poll.pk, cast.accepted_for, self.model.keys[cast.voter], cast.ballot_id
                )
                told = receipts.receipt_status(receipt)
                assert told["status"] == self.status_of(cast, chain), (cast, chain)

    def status_of(self, cast: Cast, chain: Sequence[Cast]) -> str:
        later = chain[list(chain).index(cast) + 1 :]
        if cast.fate == REJECTED:
            return "rejected"
        if cast.fate == DEAD_LETTER:
            return "accepted"
        if cast.fate == COUNTED:
            overtaken = any(other.fate == COUNTED for other in later)
            return "replaced" if overtaken else "counted"
        return "replaced" if later else "accepted"


def cookie_of(voter: int) -> str:
    """Return the same cookie in every run, so that a repeated run has its ballots in the same partitions."""
    with mock.patch("polls.voters.identity.secrets.token_bytes", lambda size: bytes([voter]) * size):
        return identity.new_cookie()


def fresh_stores() -> None:
    """Empty all stores, so that a run doesn't depend on earlier ones."""
    empty_log()
    for table in (*TABLES, *LOG_TABLES):
        table.objects.all().delete()
    votelog.forget_log()


@contextlib.contextmanager
def store_that_is(state: str) -> Iterator[None]:
    """Make the vote log work (`well`) or fail in one of three ways.

    `twice` runs each append twice, like a retry. `silent` appends but raises an error. `deaf` only raises.
    """
    log = get_log()
    append = log.append
    away = OperationalError if log.name == "database" else redis.ConnectionError

    def failing(*args: Any) -> Any:
        if state == "deaf":
            raise away
        outcomes = append(*args)
        if state == "silent":
            raise away
        return append(*args) if state == "twice" else outcomes

    with mock.patch.object(log, "append", append if state == "well" else failing):
        yield


def empty_log() -> None:
    """Empty the log's store, as after a restart without its data."""
    if get_log().name == "redis":
        with redis.Redis.from_url(settings.VOTE_LOG_REDIS_URL) as store:
            store.flushall()
    else:
        for table in LOG_TABLES:
            table.objects.all().delete()
