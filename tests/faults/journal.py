"""What was submitted and what was answered, written down outside the system under test.

One JSON line an event, appended as it happens, by the process that sends the ballots: a ballot is in it
before its first byte leaves. What the checks hold the system against is this, and nothing the system says.
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

#: first: a voter's first ballot. change: it replaces an acknowledged one. second: it replaces none, and so
#: must be refused. early, late: cast when the poll is known not to be open. once: sent a single time.
Kind = Literal["first", "change", "second", "early", "late", "once"]


@dataclass(slots=True)
class Submitted:
    """One ballot, and all that was heard of it."""

    voter: str
    selection: tuple[int, ...]
    kind: Kind = "first"
    lane: Literal["single", "batch"] = "single"
    round: int = 1
    replaces: str | None = None
    ballot_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    receipts: set[str] = field(default_factory=set)
    refused: str = ""  # for good, with this code
    turned_away: str = ""  # for now, with this code, by which that try wrote nothing
    tries: int = 0
    unknown: int = 0  # tries whose answer never came, or said that it can't be told

    @property
    def acknowledged(self) -> bool:
        return bool(self.receipts)

    @property
    def surely_out(self) -> bool:
        """Whether all that was heard says that it isn't in."""
        return bool(self.refused or self.turned_away) and not (self.acknowledged or self.unknown)

    @property
    def settled(self) -> bool:
        return self.acknowledged or bool(self.refused)


class Journal:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] = path.open("a", buffering=1)
        self.ballots: dict[str, Submitted] = {}
        self.voters: dict[str, list[Submitted]] = {}  # in the order submitted
        self.answers: Counter[str] = Counter()
        self.complaints: list[tuple[str, str]] = []  # answers that are wrong in themselves: kind, what
        self.acknowledged = 0
        self.put_off = 0  # answers that settle nothing, and answers that never came

    def close(self) -> None:
        self._file.close()

    def _write(self, event: str, ballot_id: str, **more: Any) -> None:
        line = {"at": round(time.time(), 3), "event": event, "ballot_id": ballot_id, **more}
        self._file.write(json.dumps(line) + "\n")

    def submitted(self, ballot: Submitted) -> None:
        """Before each try."""
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
        """No answer, or one that says that it can't be told."""
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
        """Read a journal from its file, to examine a run that is over."""
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
