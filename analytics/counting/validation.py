"""Validate the ballots of a batch by their round's rules, and find ballots to handle one by one.

Nearly every ballot is its voter's only ballot, and has the same selection as thousands of other ballots.
These ballots stay in the log's columns, and each distinct selection is validated once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import msgspec

from polls.errors import LandslideError
from polls.methods import METHODS, Method, MethodRules
from polls.models import Round
from polls.votelog.entries import Block, Entry

#: A ballot that can't be counted: the entry, a stable reason code, and a sentence.
Failure = tuple[Entry, str, str]
RoundKey = tuple[int, int]  # poll_id, round


class RoundRules(NamedTuple):
    """The rules by which a round's ballots are validated and counted."""

    method: Method
    limits: MethodRules
    stepped: bool  # see stepped_results.py


#: Rules read for earlier batches, by the log's generation and the round. After an older copy of the database
#: is restored, other polls may have the same ids, but the generation differs.
_cached_rules: dict[tuple[str, RoundKey], RoundRules] = {}
_MAX_CACHED_RULES = 2000


class Validator:
    """Validates the ballots of a batch. The rules of a round are frozen when it begins.

    If a log's `generation` is given, the rules are cached for later batches. The rules are read again before
    a ballot fails, since somebody may have repaired them.
    """

    def __init__(self, rounds: Iterable[RoundKey], generation: str = "") -> None:
        self._generation = generation
        wanted = set(rounds)
        self._rules: dict[RoundKey, RoundRules] = {
            key: _cached_rules[generation, key] for key in wanted if (generation, key) in _cached_rules
        }
        self._loaded: set[RoundKey] = set()
        self._reasons: dict[tuple[RoundKey, str], tuple[str, str] | None] = {}
        if missing := wanted - self._rules.keys():
            self._load_rules(missing)

    def _load_rules(self, rounds: set[RoundKey]) -> None:
        rows = Round.objects.filter(poll_id__in={poll_id for poll_id, _ in rounds})
        found: dict[RoundKey, RoundRules] = {}
        for row in (row for row in rows if row.rules["method"] in METHODS):
            with suppress(msgspec.ValidationError):  # a later release may have written the config
                limits = row.method_rules()
                found[row.poll_id, row.number] = RoundRules(row.method, limits, row.release_step > 1)
        for round_key in rounds:
            self._rules.pop(round_key, None)
        self._rules |= found
        self._loaded |= rounds
        if self._generation:
            if len(_cached_rules) > _MAX_CACHED_RULES:
                _cached_rules.clear()
            _cached_rules.update({(self._generation, round_key): rules for round_key, rules in found.items()})

    def method(self, round_key: RoundKey) -> Method:
        return self._rules[round_key].method

    def is_stepped(self, round_key: RoundKey) -> bool:
        return self._rules[round_key].stepped

    @property
    def stepped_polls(self) -> set[int]:
        return {poll_id for (poll_id, _round), rules in self._rules.items() if rules.stepped}

    def failure_of(self, round_key: RoundKey, selection: str) -> tuple[str, str] | None:
        """Return why a ballot with this selection can't be counted, as a code and a sentence, or None."""
        if (round_key, selection) not in self._reasons:
            reason = self._validate(round_key, selection)
            if reason and round_key not in self._loaded:
                self._load_rules({round_key})
                reason = self._validate(round_key, selection)
            self._reasons[round_key, selection] = reason
        return self._reasons[round_key, selection]

    def _validate(self, round_key: RoundKey, selection: str) -> tuple[str, str] | None:
        if round_key not in self._rules:
            poll_id, round_ = round_key
            return "unknown_round", f"Poll {poll_id} has no round {round_} with known rules."
        method, limits, _stepped = self._rules[round_key]
        try:
            if method.is_canonical(limits, selection):
                return None
            return "invalid_selection", "The selection is not in canonical form."
        except LandslideError as error:
            return error.code, error.detail
        except ValueError:
            return "unreadable", "The selection can't be read."

    def split(self, blocks: Sequence[Block]) -> tuple[list[Block], list[Entry]]:
        """Return the plain blocks, and the other ballots, which must be handled one by one.

        In plain blocks every ballot is valid, replaces no other ballot and is its voter's only ballot. A
        voter's ballots are either all plain or all among the others, so the two groups may be written in any
        order.
        """
        rounds: dict[RoundKey, list[Block]] = defaultdict(list)
        for block in blocks:
            rounds[block.poll_id, block.round].append(block)
        plain: list[Block] = []
        others: list[Entry] = []
        for round_key, round_blocks in rounds.items():
            exceptions = self._voters_to_check(round_key, round_blocks)
            for block in round_blocks:
                pieces, entries = split_block(block, exceptions)
                plain += pieces
                others += entries
        return plain, others

    def check_each(self, entries: Iterable[Entry]) -> tuple[list[Entry], list[Failure]]:
        good, failures = [], []
        for entry in entries:
            reason = self.failure_of((entry.poll_id, entry.round), entry.selection)
            if reason is None:
                good.append(entry)
            else:
                failures.append((entry, *reason))
        return good, failures

    def _voters_to_check(self, round_key: RoundKey, blocks: Sequence[Block]) -> set[bytes]:
        """Return the voters of a round whose ballots must be handled one by one."""
        voters = list(chain.from_iterable(block.voter_keys for block in blocks))
        found: set[bytes] = set()
        if len(set(voters)) < len(voters):
            found.update(voter for voter, ballots in Counter(voters).items() if ballots > 1)
        selections = set(chain.from_iterable(block.selections for block in blocks))
        wrong = {selection for selection in selections if self.failure_of(round_key, selection)}
        for block in blocks:
            if block.replaces:
                found.update(v for v, named in zip(block.voter_keys, block.replaces, strict=True) if named)
            if wrong:
                ballots = zip(block.voter_keys, block.selections, strict=True)
                found.update(voter for voter, selection in ballots if selection in wrong)
        return found


def split_block(block: Block, voters: set[bytes]) -> tuple[list[Block], list[Entry]]:
    """Cut these voters' ballots out of a block. Return the remaining pieces, and the ballots cut out."""
    if voters.isdisjoint(block.voter_keys):
        return [block], []
    pieces, entries, start = [], [], 0
    for entry in block.entries():
        if entry.voter_key not in voters:
            continue
        entries.append(entry)
        at = entry.position - block.first
        if at > start:
            pieces.append(_slice(block, start, at))
        start = at + 1
    if start < len(block):
        pieces.append(_slice(block, start, len(block)))
    return pieces, entries


def _slice(block: Block, start: int, end: int) -> Block:
    return replace(
        block,
        first=block.first + start,
        voter_keys=block.voter_keys[start:end],
        ballot_ids=block.ballot_ids[start:end],
        selections=block.selections[start:end],
        replaces=block.replaces[start:end] if block.replaces else None,
    )
