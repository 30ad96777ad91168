"""Blocks of ballots for tests of counting."""

import itertools
from collections.abc import Sequence
from typing import Any

from polls.models import Ballot, DeadLetter, Poll
from polls.votelog.entries import Block

T0 = 1_700_000_000_000
ids = itertools.count(1)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def block_of(poll: Poll, voters: Sequence[int], picks: Sequence[str], first: int = 1, **given: Any) -> Block:
    keys = [key(voter) for voter in voters]
    ballot_ids = given.get("ballot_ids") or [key(next(ids)) for _ in voters]
    where = (first, "ballot", poll.pk, given.get("round", poll.round), given.get("at", T0))
    return Block(*where, keys, ballot_ids, list(picks), given.get("replaces"))


def letters() -> list[tuple[int, str]]:
    return sorted(DeadLetter.objects.values_list("position", "reason"))


def ballot_ids(poll: Poll) -> dict[int, bytes]:
    rows = Ballot.objects.filter(poll_id=poll.pk).values_list("voter_key", "ballot_id")
    return {int.from_bytes(voter, "big"): bytes(ballot_id) for voter, ballot_id in rows}
