"""What accepting a ballot needs to know of a poll, cached in the process for a moment.

Drafts are not cached: their rules may still change; those of all others are frozen. They
say what a valid selection looks like; whether the poll is open is never decided from
here, only by the gate in the vote log.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

from django.db import DatabaseError

from polls import clock
from polls.errors import PollNotFound
from polls.http.client_address import Networks
from polls.methods import Method, MethodRules, get_method
from polls.models import EndedAccount, Identity, OverLimit, Poll, ProofOfWork, Round, State, canonical_code
from polls.signals import poll_changed
from polls.voters.identity import login_key

_CACHE_SECONDS = 1.0
_CACHE_POLLS = 1000


@dataclass(frozen=True, slots=True)
class PollRules:
    id: int
    code: str
    state: str
    round: int
    method: Method
    rules: MethodRules
    revote: bool
    results_visible: str
    secret: bytes
    voter_secret: bytes
    identity: str = Identity.BROWSER
    ended_voters: frozenset[bytes] = (
        frozenset()
    )  # voters whose accounts have ended, though a pass may not have
    venues: Networks = ()
    quarantines_over_limit: bool = False  # ballots over a limit are counted apart, not refused
    #: Until when voters' ballots need a proof of work, in seconds since the epoch; inf where they always do.
    proof_until: float = 0.0
    #: Valid selections as voters marked them -> as they are stored; a poll has few and many ballots.
    canonical: dict[tuple[int, ...], str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def requires_proof(self) -> bool:
        return self.proof_until > clock.now()


_cache: dict[str, tuple[float, PollRules]] = {}


def cached_rules(code: str) -> tuple[PollRules, float] | None:
    """What is cached of the poll with this (canonical) code, and for how many seconds; asks no store."""
    cached = _cache.get(code)
    return (cached[1], time.monotonic() - cached[0]) if cached else None


def get_rules(code: str, *, fresh: bool = False) -> PollRules:
    """The rules of the poll with this code; PollNotFound where there is none."""
    code = canonical_code(code)
    cached = _cache.get(code)
    if cached and not fresh and time.monotonic() - cached[0] < _CACHE_SECONDS:
        return cached[1]
    try:
        rules = _load(code)
    except DatabaseError:
        # Old rules serve while the database is away: the gate decides, and counting checks once more.
        if cached is None:
            raise
        return cached[1]
    if rules.state != State.DRAFT:
        if len(_cache) >= _CACHE_POLLS:
            _cache.clear()
        _cache[code] = (time.monotonic(), rules)
    return rules


def rules_of_round(code: str, round: int | None) -> PollRules:
    """The rules that ballots of `round` are judged by, as the database has them now."""
    rules = get_rules(code, fresh=True)
    if round in (None, rules.round):
        return rules
    frozen = Round.objects.filter(poll_id=rules.id, number=round).first()
    if frozen is None:
        return rules
    method = get_method(frozen.rules["method"])
    return replace(rules, method=method, rules=frozen.method_rules(), canonical={})


def _ended_voters(poll: Poll) -> frozenset[bytes]:
    if poll.identity != Identity.LOGIN:
        return frozenset()
    secret, accounts = poll.voter_secret(), EndedAccount.objects.values_list("user_id", flat=True)
    return frozenset(login_key(secret, user_id) for user_id in accounts)


def _load(code: str) -> PollRules:
    poll = Poll.objects.filter(code=code).prefetch_related("choices").first() if len(code) <= 16 else None
    if poll is None:
        raise PollNotFound()
    return PollRules(
        id=poll.pk,
        code=poll.code,
        state=poll.state,
        round=poll.round,
        method=get_method(poll.method),
        rules=poll.method_rules(),
        revote=poll.revote,
        results_visible=poll.results_visible,
        secret=bytes(poll.secret),
        voter_secret=poll.voter_secret(),
        identity=poll.identity,
        ended_voters=_ended_voters(poll),
        venues=tuple(poll.venue_networks),
        quarantines_over_limit=poll.over_limit == OverLimit.QUARANTINE,
        proof_until=_proof_until(poll),
    )


def _proof_until(poll: Poll) -> float:
    if poll.proof_of_work == ProofOfWork.ON:
        return math.inf
    if poll.proof_of_work == ProofOfWork.AUTO and poll.proof_until is not None:
        return poll.proof_until.timestamp()
    return 0.0


def clear_cache(**_: object) -> None:
    _cache.clear()


poll_changed.connect(clear_cache, dispatch_uid="polls.voters.poll_rules")
