"""In-process cache of the rules of polls, for casting.

Rules are frozen once a poll is opened. Drafts are not cached, because their rules may still change. Never
decide from this cache whether a poll is open. Only the poll's gate in the vote log decides whether a poll is
open.
"""

import math
import time
from collections.abc import Hashable
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
    receipt_format: int
    identity: str = Identity.BROWSER
    #: Voters whose accounts have ended; their passes may not have expired yet.
    ended_voters: frozenset[bytes] = frozenset()
    venues: Networks = ()
    quarantines_over_limit: bool = False  # instead of refusing ballots over a rate limit
    #: Seconds since the epoch until which ballots need a proof of work; inf for always, 0 for never.
    proof_until: float = 0.0
    #: A cache of valid selections: as marked -> as stored. Many ballots have the same selection.
    canonical: dict[Hashable, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def requires_proof(self) -> bool:
        return self.proof_until > clock.now()


_cache: dict[str, tuple[float, PollRules]] = {}


def cached_rules(code: str) -> tuple[PollRules, float] | None:
    """Return the cached rules of a poll, by its canonical code, and their age in seconds. Reads no store."""
    cached = _cache.get(code)
    return (cached[1], time.monotonic() - cached[0]) if cached else None


def get_rules(code: str, *, fresh: bool = False) -> PollRules:
    """Return the rules of a poll, cached for a second unless `fresh`; raise PollNotFound."""
    code = canonical_code(code)
    cached = _cache.get(code)
    if cached and not fresh and time.monotonic() - cached[0] < _CACHE_SECONDS:
        return cached[1]
    try:
        rules = _load(code)
    except DatabaseError:
        # While the database is down, stale rules are enough: the gate decides, and counting validates again.
        if cached is None:
            raise
        return cached[1]
    if rules.state != State.DRAFT:
        if len(_cache) >= _CACHE_POLLS:
            _cache.clear()
        _cache[code] = (time.monotonic(), rules)
    return rules


def rules_of_round(code: str, round: int | None) -> PollRules:
    """Return the rules by which ballots of `round` are validated, read from the database."""
    rules = get_rules(code, fresh=True)
    if round in (None, rules.round):
        return rules
    frozen = Round.objects.filter(poll_id=rules.id, number=round).first()
    if frozen is None:
        return rules
    return replace(rules, method=frozen.method, rules=frozen.method_rules(), canonical={})


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
        receipt_format=poll.receipt_format,
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
