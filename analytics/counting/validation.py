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
Misfit = tuple[Entry, str, str]
RoundKey = tuple[int, int]  # poll_id, round


class Rules(NamedTuple):
    """What a round's ballots are judged and counted by."""

    method: Method
    limits: MethodRules
    stepped: bool  # its tally moves in steps (releases.py)


#: Rules that were looked up, by the generation of the log that their ballots come from: a database
#: that was put back to an older copy has another one, and may have other polls under the same ids.
_known: dict[tuple[str, RoundKey], Rules] = {}
_KNOWN_AT_MOST = 2000


class Judge:
    """Judges the ballots of a batch by the rules of their rounds, which are frozen since these began.

    With a log's `generation`, rules that were read for an earlier batch will do to allow a ballot. To set
    one aside they are always read anew: they may have been repaired by hand.
    """

    def __init__(self, rounds: Iterable[RoundKey], generation: str = "") -> None:
        self._generation = generation
        wanted = set(rounds)
        known = {where: _known[generation, where] for where in wanted if (generation, where) in _known}
        self._rules: dict[RoundKey, Rules] = known
        self._read: set[RoundKey] = set()
        self._reasons: dict[tuple[RoundKey, str], tuple[str, str] | None] = {}
        if wanted - known.keys():
            self._read_rules(wanted - known.keys())

    def _read_rules(self, rounds: set[RoundKey]) -> None:
        rows = Round.objects.filter(poll_id__in={poll_id for poll_id, _ in rounds})
        found: dict[RoundKey, Rules] = {
            (row.poll_id, row.number): Rules(
                METHODS[row.rules["method"]], row.method_rules(), row.rules.get("step", 1) > 1
            )
            for row in rows
            if row.rules["method"] in METHODS
        }
        for where in rounds:
            self._rules.pop(where, None)
        self._rules |= found
        self._read |= rounds
        if self._generation:
            if len(_known) > _KNOWN_AT_MOST:
                _known.clear()
            _known.update({(self._generation, where): rules for where, rules in found.items()})

    def method(self, where: RoundKey) -> Method:
        return self._rules[where].method

    def is_stepped(self, where: RoundKey) -> bool:
        return self._rules[where].stepped

    @property
    def stepped_polls(self) -> set[int]:
        """Those of the batch's polls whose tallies move in steps."""
        return {poll_id for (poll_id, _round), rules in self._rules.items() if rules.stepped}

    def reason_against(self, where: RoundKey, selection: str) -> tuple[str, str] | None:
        """Why a ballot with this selection can't be counted, as a code and a sentence."""
        if (where, selection) not in self._reasons:
            reason = self._look(where, selection)
            if reason and where not in self._read:
                self._read_rules({where})
                reason = self._look(where, selection)
            self._reasons[where, selection] = reason
        return self._reasons[where, selection]

    def _look(self, where: RoundKey, selection: str) -> tuple[str, str] | None:
        if where not in self._rules:
            poll_id, round_ = where
            return "unknown_round", f"There is no round {round_} of poll {poll_id} by a known method."
        method, limits, _stepped = self._rules[where]
        try:
            if method.check(limits, list(decode(selection))) == decode(selection):
                return None
            return "invalid_selection", "The selection is not in canonical form."
        except LandslideError as error:
            return error.code, error.detail
        except ValueError:
            return "unreadable", "The selection can't be read."

    def sort(self, blocks: Sequence[Block]) -> tuple[list[Block], list[Entry]]:
        """Blocks of valid ballots, each the only one of its voter and replacing none; and all other ballots.

        What is a voter's is on one side: either way the order among voters doesn't matter.
        """
        rounds: dict[RoundKey, list[Block]] = defaultdict(list)
        for block in blocks:
            rounds[block.poll_id, block.round].append(block)
        plain: list[Block] = []
        others: list[Entry] = []
        for where, together in rounds.items():
            set_apart = self._to_look_at(where, together)
            for block in together:
                runs, entries = divide(block, set_apart)
                plain += runs
                others += entries
        return plain, others

    def divide(self, entries: Iterable[Entry]) -> tuple[list[Entry], list[Misfit]]:
        """The ballots that can be counted, and those that can't."""
        good, misfits = [], []
        for entry in entries:
            reason = self.reason_against((entry.poll_id, entry.round), entry.selection)
            if reason is None:
                good.append(entry)
            else:
                misfits.append((entry, *reason))
        return good, misfits

    def _to_look_at(self, where: RoundKey, blocks: Sequence[Block]) -> set[bytes]:
        """The voters of a round whose ballots have to be looked at one by one."""
        voters = list(chain.from_iterable(block.voter_keys for block in blocks))
        found: set[bytes] = set()
        if len(set(voters)) < len(voters):
            found.update(voter for voter, ballots in Counter(voters).items() if ballots > 1)
        selections = set(chain.from_iterable(block.selections for block in blocks))
        wrong = {selection for selection in selections if self.reason_against(where, selection)}
        for block in blocks:
            if block.replaces:
                found.update(v for v, named in zip(block.voter_keys, block.replaces, strict=True) if named)
            if wrong:
                ballots = zip(block.voter_keys, block.selections, strict=True)
                found.update(voter for voter, selection in ballots if selection in wrong)
        return found


def divide(block: Block, voters: set[bytes]) -> tuple[list[Block], list[Entry]]:
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
            pieces.append(_piece(block, start, at))
        start = at + 1
    if start < len(block):
        pieces.append(_piece(block, start, len(block)))
    return pieces, entries


def _piece(block: Block, start: int, end: int) -> Block:
    return replace(
        block,
        first=block.first + start,
        voter_keys=block.voter_keys[start:end],
        ballot_ids=block.ballot_ids[start:end],
        selections=block.selections[start:end],
        replaces=block.replaces[start:end] if block.replaces else None,
    )
