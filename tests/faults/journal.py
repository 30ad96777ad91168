"""Record every submitted ballot and every answer, outside the system under test.

The process that sends the ballots appends one JSON line per event. A ballot is written before its first byte
is sent. The checks compare the system with this journal and don't rely on what the system says about itself.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

#: first: a voter's first ballot. change: it replaces an acknowledged ballot. second: it names no ballot to
#: replace, so it must be refused. early, late: cast before opening or after closing. once: never sent again.
Kind = Literal["first", "change", "second", "early", "late", "once"]


@dataclass(slots=True)
class Submitted:
    """One ballot, and all answers to it."""

    voter: str
    selection: tuple[int, ...]
    kind: Kind = "first"
    lane: Literal["single", "batch"] = "single"
    round: int = 1
    replaces: str | None = None
    ballot_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    receipts: set[str] = field(default_factory=set)
    refused: str = ""  # the code of a permanent refusal
    turned_away: str = ""  # the code of the last temporary refusal, which wrote nothing
    tries: int = 0
    unknown: int = 0  # tries without an answer, or with the answer that the outcome is unknown

    @property
    def acknowledged(self) -> bool:
        return bool(self.receipts)

    @property
    def surely_out(self) -> bool:
        """Whether every answer says that the ballot wasn't accepted."""
        return bool(self.refused or self.turned_away) and not (self.acknowledged or self.unknown)

    @property
    def settled(self) -> bool:
        return self.acknowledged or bool(self.refused)


class Journal:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] = path.open("a", buffering=1)
        self.ballots: dict[str, Submitted] = {}
        self.voters: dict[str, list[Submitted]] = {}  # each voter's ballots, in the order of submission
        self.answers: Counter[str] = Counter()
        self.complaints: list[tuple[str, str]] = []  # (kind, text) of answers that are wrong by themselves
        self.acknowledged = 0
        self.put_off = 0  # tries without a final answer

    def close(self) -> None:
        self._file.close()

    def _write(self, event: str, ballot_id: str, **more: Any) -> None:
        line = {"at": round(time.time(), 3), "event": event, "ballot_id": ballot_id, **more}
        self._file.write(json.dumps(line) + "\n")

    def submitted(self, ballot: Submitted) -> None:
        """Record a try. Call it before sending the ballot."""
        if not ballot.tries:
            self._enter(ballot)
            about = {
                name: getattr(ballot, name)
                for name in ("voter", "selection", "kind", "lane", "round", "replaces")
            }
            self._write("submitted", ballot.ballot_id, **about)
        else:
            self._write("again", ballot.ballot_id)
        ballot.tries += 1

    def _enter(self, ballot: Submitted) -> None:
        self.ballots[ballot.ballot_id] = ballot
        self.voters.setdefault(ballot.voter, []).append(ballot)

    def acknowledge(self, ballot: Submitted, receipt: str) -> None:
        self._write("acknowledged", ballot.ballot_id, receipt=receipt)
        self.answers["acknowledged"] += 1
        self.acknowledged += not ballot.receipts
        ballot.receipts.add(receipt)

    def refuse(self, ballot: Submitted, code: str, *, for_good: bool) -> None:
        self._write("refused" if for_good else "put_off", ballot.ballot_id, code=code)
        self.answers[code] += 1
        self.put_off += not for_good
        if for_good:
            ballot.refused = code
        else:
            ballot.turned_away = code

    def lose_sight(self, ballot: Submitted, why: str) -> None:
        """Record a try without an answer, or with the answer that the outcome is unknown."""
        self._write("unknown", ballot.ballot_id, why=why)
        self.answers["unknown"] += 1
        self.put_off += 1
        ballot.unknown += 1

    def complain(self, kind: str, what: str) -> None:
        self._write("complaint", "", kind=kind, what=what)
        self.complaints.append((kind, what))

    def unsettled(self) -> Iterator[Submitted]:
        return (ballot for ballot in self.ballots.values() if not ballot.settled)

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Read a journal from its file, to examine a finished run."""
        journal = cls(path)
        for line in path.read_text().splitlines():
            event = json.loads(line)
            journal._take(event.pop("event"), event.pop("ballot_id"), event)
        return journal

    def _take(self, event: str, ballot_id: str, more: dict[str, Any]) -> None:
        more.pop("at")
        if event == "complaint":
            self.complaints.append((more["kind"], more["what"]))
        elif event == "submitted":
            selection = tuple(more.pop("selection"))
            self._enter(Submitted(selection=selection, ballot_id=ballot_id, tries=1, **more))
        else:
            ballot = self.ballots[ballot_id]
            ballot.tries += event == "again"
            ballot.unknown += event == "unknown"
            if event == "acknowledged":
                self.acknowledged += not ballot.receipts
                ballot.receipts.add(more["receipt"])
            elif event == "refused":
                ballot.refused = more["code"]
            elif event == "put_off":
                ballot.turned_away = more["code"]
            if event != "again":
                self.answers[more.get("code", event)] += 1
