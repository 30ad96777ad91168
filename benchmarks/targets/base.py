"""What can be asked of any system that takes votes."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.load import Load, Plan, Report
from benchmarks.load.run import LoadFailed, Void
from benchmarks.processes import load_core, pin, server_core


class Target:
    """A running system with voters of its own, each of whom votes once."""

    name = "target"
    port = 0
    template = ""
    choices = 5
    accepted = 202
    fastest = 25_000  # ballots a second that it will never take: how many voters must be ready

    def __init__(self, home: Path) -> None:
        self.voters = home / f"{self.name}-{secrets.token_hex(4)}-voters"
        self._minted = self._used = 0

    @property
    def web(self) -> list[int]:
        """The processes that answer HTTP."""
        raise NotImplementedError

    @property
    def behind(self) -> list[int]:
        """The roots of all others that a ballot costs time in: stores, workers."""
        raise NotImplementedError

    @property
    def parts(self) -> dict[str, list[int]]:
        """All its processes by what they do."""
        raise NotImplementedError

    def mint(self, count: int) -> None:
        """Append so many voters' cookies to the file."""
        raise NotImplementedError

    def counted(self) -> int:
        """How many ballots have been counted."""
        raise NotImplementedError

    def plan(self, **options: Any) -> Plan:
        plan = Plan(self.port, self.template, accepted=self.accepted, choices=self.choices)
        plan = dataclasses.replace(plan, voters=str(self.voters), **options)
        self._bring_voters(plan)
        return dataclasses.replace(plan, first=self._used)

    def _bring_voters(self, plan: Plan) -> None:
        needed = plan.count or round((plan.rate or self.fastest) * plan.seconds)
        if (short := self._used + needed - self._minted) > 0:
            self.mint(short)
            self._minted += short

    def load(self, cores: set[int] | None = None, **options: Any) -> Load:
        """A load that waits for its go; tell `used` what it sent."""
        return Load(self.plan(**options), cores)

    def used(self, report: Report) -> Report:
        self._used += report.sent
        return report

    def offer(self, cores: set[int] | None = None, **options: Any) -> Report:
        load = self.load(cores, **options)
        load.go()
        return self.used(load.wait())

    def warm_up(self, seconds: float = 1) -> None:
        """Cold caches, connections and just-in-time compilers are not what is asked."""
        self.offer(seconds=seconds)

    def keep_web_apart(self) -> None:
        """The web process alone on a core, everything else where the load is."""
        pin(self.web, server_core())
        pin(set(self.behind) - set(self.web), load_core())
        pin(self.web, server_core())  # they may be below one of those


def sound(report: Report, *, refused: Iterable[str] = ()) -> Report:
    """The report, unless it says nothing: a load that was late, or answers that nobody planned for."""
    if report.void:
        raise Void(report.void)
    odd = set(report.statuses) - {"202", "201", "200", "304", *refused}
    if odd or not report.accepted:
        raise LoadFailed(f"unexpected answers: {report.statuses} {report.codes}")
    return report
