"""A model of a poll: a second, simple implementation of casting, counting and the lifecycle.

It shares no code with Landslide, so that they can't have the same mistake. It follows the log entry by entry,
with the position of each. `count_up_to` tells it how far each partition is counted.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, field

Marks = tuple[int, ...]
DRAFT, OPEN, CLOSING, CLOSED, PUBLISHED = "draft", "open", "closing", "closed", "published"
WAITING, COUNTED, DEAD_LETTER, REJECTED = "waiting", "counted", "dead letter", "rejected"


@dataclass(eq=False)
class Cast:
    """A ballot as it was sent, with its state."""

    voter: int
    ballot_id: bytes
    marks: Marks
    round: int | None = None
    replaces: bytes | None = None
    accepted_for: int = 0
    fate: str = WAITING


@dataclass
class Gate:
    round: int
    open: bool = False
    closed: bool = False


@dataclass
class PollModel:
    poll_id: int
    revote: bool
    numbers: set[int]
    most: int
    keys: dict[int, bytes]  # each voter's key
    heads: dict[int, int]  # where each partition's log ended when this poll was made
    remembered: int  # how many ballots of a voter the log remembers
    state: str = DRAFT
    round: int = 1
    gate: Gate | None = None
    gates_set: bool = True
    broken: bool = False  # the log isn't the one that the checkpoints name
    memory: dict[int, list[Cast]] = field(default_factory=dict)
    chains: dict[tuple[int, int], list[Cast]] = field(default_factory=dict)
    letters: list[Cast] = field(default_factory=list)
    #: Each partition's entries: (position, ballot), or (position, round) for a closing marker.
    entries: dict[int, list[tuple[int, Cast | int]]] = field(default_factory=dict)
    counted: dict[int, int] = field(default_factory=dict)
    repaired: set[int] = field(default_factory=set)  # rounds whose rules were repaired
    results: dict[int, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entries = {partition: [] for partition in self.heads}
        self.counted = dict(self.heads)

    # --- casting ---

    def allows(self, marks: Marks, round_: int = 0) -> bool:
        numbers = self.numbers | ({max(self.numbers) + 1} if round_ in self.repaired else set())
        return 1 <= len(marks) <= self.most and len(set(marks)) == len(marks) and set(marks) <= numbers

    def cast(self, cast: Cast) -> tuple[str, int]:
        """Cast a ballot. Return the code of the answer, and its round."""
        for known in self.memory.get(cast.voter, []):
            if known.ballot_id == cast.ballot_id:
                same = sorted(known.marks) == sorted(cast.marks) and cast.round in (None, known.accepted_for)
                return ("accepted", known.accepted_for) if same else ("ballot_id_reused", 0)
        if self.gate is None:
            return "poll_not_open", 0
        if cast.round not in (None, self.gate.round):
            return "round_changed", 0
        if not self.gate.open:
            return "poll_not_open", 0
        current = self.current(cast.voter, self.gate.round)
        if current and not (self.revote and cast.replaces == current.ballot_id):
            return "already_voted", 0
        self._accept(cast, self.gate.round)
        return "accepted", self.gate.round

    def current(self, voter: int, round_: int) -> Cast | None:
        mine = [cast for cast in self.memory.get(voter, []) if cast.accepted_for == round_]
        return mine[-1] if mine else None

    def _accept(self, cast: Cast, round_: int) -> None:
        cast.accepted_for = round_
        partition = zlib.crc32(self.keys[cast.voter], self.poll_id) % len(self.heads)
        self._enter(partition, cast)
        self.chains.setdefault((round_, cast.voter), []).append(cast)
        self._remember(cast)

    def _remember(self, cast: Cast) -> None:
        self.memory[cast.voter] = [*self.memory.get(cast.voter, []), cast][-self.remembered :]

    def _enter(self, partition: int, entry: Cast | int) -> None:
        self.heads[partition] += 1
        self.entries[partition].append((self.heads[partition], entry))

    # --- lifecycle ---

    def may(self, step: str) -> bool:
        allowed = {"open": [DRAFT], "close": [OPEN], "publish": [CLOSED], "reset": [OPEN, CLOSED, PUBLISHED]}
        return self.state in allowed[step]

    def decide(self, step: str) -> None:
        """Take a step of the lifecycle. The gates may be set later."""
        if step == "publish":
            self.state = PUBLISHED
            return
        self.state = {"open": OPEN, "close": CLOSING, "reset": DRAFT}[step]
        self.round += step == "reset"
        self.gates_set = False

    def set_missing_gates(self) -> None:
        if self.gates_set:
            return
        self.set_gates()
        self.gates_set = True

    def set_gates(self) -> None:
        gate, round_ = self.gate, self.round
        if self.state == OPEN:
            if gate is None or round_ > gate.round or (round_ == gate.round and not gate.closed):
                self.gate = Gate(round_, open=True)
        elif self.state == DRAFT:
            if gate is None or gate.round < round_:
                self.gate = Gate(round_)
        else:
            self.close_gate()

    def close_gate(self) -> None:
        if self.gate is None or self.gate.round < self.round:
            self.gate = Gate(self.round)
        if self.gate.round == self.round and not self.gate.closed:
            self.gate = Gate(self.round, closed=True)
            for partition in self.entries:
                self._enter(partition, self.round)

    # --- counting ---

    def count_up_to(self, partition: int, position: int) -> None:
        """Count the partition's entries up to a position."""
        assert self.counted[partition] <= position <= self.heads[partition]
        for at, entry in self.entries[partition]:
            if self.counted[partition] < at <= position and isinstance(entry, Cast):
                self._settle(entry)
        self.counted[partition] = position

    def _settle(self, cast: Cast) -> None:
        if self.allows(cast.marks, cast.accepted_for):
            cast.fate = COUNTED
        else:
            cast.fate = DEAD_LETTER
            self.letters.append(cast)

    def finish_closing(self) -> None:
        """Close the poll if it is closing and everything accepted is counted."""
        if self.state != CLOSING or self.broken:
            return
        self.close_gate()
        ends = {p: at for p, found in self.entries.items() for at, e in found if e == self.round}
        if all(self.counted[partition] >= at for partition, at in ends.items()):
            self.state = CLOSED
            self.results[self.round] = self.tally(self.round)

    def ledger(self) -> dict[tuple[int, bytes], tuple[bytes, str]]:
        """Return each voter's last valid ballot."""
        found = {}
        for (round_, voter), chain in self.chains.items():
            good = [cast for cast in chain if cast.fate == COUNTED]
            if good:
                marks = ",".join(map(str, sorted(good[-1].marks)))
                found[round_, self.keys[voter]] = (good[-1].ballot_id, marks)
        return found

    def tally(self, round_: int) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for (number, _), (_, marks) in self.ledger().items():
            if number == round_:
                counts.update(["ballots", *marks.split(",")])
        return dict(counts)

    # --- dead letters ---

    def can_count(self, cast: Cast) -> bool:
        chain = self.chains[cast.accepted_for, cast.voter]
        later = chain[chain.index(cast) + 1 :]
        overtaken = any(other.fate == COUNTED for other in later)
        return not overtaken and self.allows(cast.marks, cast.accepted_for)

    def count_letter(self, cast: Cast) -> None:
        cast.fate = COUNTED
        self.letters.remove(cast)
        if cast.accepted_for in self.results:
            self.results[cast.accepted_for] = self.tally(cast.accepted_for)

    # --- a log that is rebuilt from the database ---

    def lose_the_log(self) -> None:
        self.broken = True

    def reconcile(self) -> None:
        """Rebuild the log from what the database has. Uncounted ballots are lost."""
        for partition, found in self.entries.items():
            kept = [(at, entry) for at, entry in found if at <= self.counted[partition]]
            self.entries[partition] = kept
            self.heads[partition] = self.counted[partition]
        for key, chain in self.chains.items():
            self.chains[key] = [cast for cast in chain if cast.fate != WAITING]
        self.memory = {}
        counted = {ballot_id for ballot_id, _ in self.ledger().values()}
        chains = [self.chains[key] for key in sorted(self.chains)]
        # A ballot_id may be in two rounds, if the log had forgotten the first one.
        last = [[c for c in chain if c.fate == COUNTED][-1:] for chain in chains]
        assert {cast.ballot_id for casts in last for cast in casts} == counted
        for cast in [*self.letters, *(cast for casts in last for cast in casts)]:
            self._remember(cast)
        self.gate = Gate(self.round, open=self.state == OPEN, closed=self.state in (CLOSED, PUBLISHED))
        self.broken = False
