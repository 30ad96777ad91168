"""Which ballots of a batch their round's rules allow, and which can go into the ledger unseen.

Nearly every ballot is the only one of its voter and like thousands of others. Those stay in
columns, and each selection is judged once; only what is left is looked at ballot by ballot.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from polls.errors import LandslideError
from polls.methods import METHODS, Method, MethodRules, decode
from polls.models import Round
from polls.votelog.entries import Block, Entry

#: An entry that can't be counted, a stable reason, and a sentence.
Failure = tuple[Entry, str, str]
RoundKey = tuple[int, int]  # poll_id, round


class RoundRules(NamedTuple):
    """What a round's ballots are judged and counted by."""

    method: Method
    limits: MethodRules
    stepped: bool  # its tally moves in steps (releases.py)


#: Rules that were looked up, by the generation of the log that their ballots come from: a database
#: that was put back to an older copy has another one, and may have other polls under the same ids.
_cached_rules: dict[tuple[str, RoundKey], RoundRules] = {}
_MAX_CACHED_RULES = 2000


class Validator:
    """Judges the ballots of a batch by the rules of their rounds, which are frozen since these began.

    With a log's `generation`, rules that were read for an earlier batch will do to allow a ballot. To set
    one aside they are always read anew: they may have been repaired by hand.
    """

    def __init__(self, rounds: Iterable[RoundKey], generation: str = "") -> None:
        self._generation = generation
        wanted = set(rounds)
        known = {
            round_key: _cached_rules[generation, round_key]
            for round_key in wanted
            if (generation, round_key) in _cached_rules
        }
        self._rules: dict[RoundKey, RoundRules] = known
        self._loaded: set[RoundKey] = set()
        self._reasons: dict[tuple[RoundKey, str], tuple[str, str] | None] = {}
        if wanted - known.keys():
            self._load_rules(wanted - known.keys())

    def _load_rules(self, rounds: set[RoundKey]) -> None:
        rows = Round.objects.filter(poll_id__in={poll_id for poll_id, _ in rounds})
        found: dict[RoundKey, RoundRules] = {
            (row.poll_id, row.number): RoundRules(
                METHODS[row.rules["method"]], row.method_rules(), row.rules.get("step", 1) > 1
            )
            for row in rows
            if row.rules["method"] in METHODS
        }
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
        """Those of the batch's polls whose tallies move in steps."""
        return {poll_id for (poll_id, _round), rules in self._rules.items() if rules.stepped}

    def failure_of(self, round_key: RoundKey, selection: str) -> tuple[str, str] | None:
        """Why a ballot with this selection can't be counted, as a code and a sentence."""
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
            return "unknown_round", f"There is no round {round_} of poll {poll_id} by a known method."
        method, limits, _stepped = self._rules[round_key]
        try:
            if method.check(limits, list(decode(selection))) == decode(selection):
                return None
            return "invalid_selection", "The selection is not in canonical form."
        except LandslideError as error:
            return error.code, error.detail
        except ValueError:
            return "unreadable", "The selection can't be read."

    def split(self, blocks: Sequence[Block]) -> tuple[list[Block], list[Entry]]:
        """Blocks of valid ballots, each the only one of its voter and replacing none; and all other ballots.

        What is a voter's is on one side: either way the order among voters doesn't matter.
        """
        rounds: dict[RoundKey, list[Block]] = defaultdict(list)
        for block in blocks:
            rounds[block.poll_id, block.round].append(block)
        plain: list[Block] = []
        others: list[Entry] = []
        for round_key, together in rounds.items():
            exceptions = self._voters_to_check(round_key, together)
            for block in together:
                runs, entries = split_block(block, exceptions)
                plain += runs
                others += entries
        return plain, others

    def check_each(self, entries: Iterable[Entry]) -> tuple[list[Entry], list[Failure]]:
        """The ballots that can be counted, and those that can't."""
        good, failures = [], []
        for entry in entries:
            reason = self.failure_of((entry.poll_id, entry.round), entry.selection)
            if reason is None:
                good.append(entry)
            else:
                failures.append((entry, *reason))
        return good, failures

    def _voters_to_check(self, round_key: RoundKey, blocks: Sequence[Block]) -> set[bytes]:
        """The voters of a round whose ballots have to be looked at one by one."""
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
    """The block without these voters, in as many pieces as that leaves, and their ballots."""
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
