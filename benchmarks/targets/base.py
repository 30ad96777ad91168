"""The interface of a system that accepts votes."""

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
    """A running system with its own voters. Each voter votes once."""

    name = "target"
    port = 0
    template = ""
    choices = 5
    accepted = 202
    fastest = 25_000  # voters made for each second, more than the system can accept

    def __init__(self, home: Path) -> None:
        self.voters = home / f"{self.name}-{secrets.token_hex(4)}-voters"
        self._minted = self._used = 0

    @property
    def web(self) -> list[int]:
        """Return the processes that answer HTTP."""
        raise NotImplementedError

    @property
    def behind(self) -> list[int]:
        """Return the roots of all other process trees that spend time on a ballot: stores, workers."""
        raise NotImplementedError

    @property
    def parts(self) -> dict[str, list[int]]:
        """Return all processes of the system by role."""
        raise NotImplementedError

    def mint(self, count: int) -> None:
        """Append the cookies of `count` voters to the file."""
        raise NotImplementedError

    def counted(self) -> int:
        """Return how many ballots have been counted."""
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
        """Prepare a load that waits for `go()`. Pass the report of the load to `used`."""
        return Load(self.plan(**options), cores)

    def used(self, report: Report) -> Report:
        self._used += report.sent
        return report

    def offer(self, cores: set[int] | None = None, **options: Any) -> Report:
        load = self.load(cores, **options)
        load.go()
        return self.used(load.wait())

    def warm_up(self, seconds: float = 1) -> None:
        """Warm up caches, connections and just-in-time compilers."""
        self.offer(seconds=seconds)

    def keep_web_apart(self) -> None:
        """Pin the web process to its own core, and all other processes to the load's core."""
        pin(self.web, server_core())
        pin(set(self.behind) - set(self.web), load_core())
        pin(self.web, server_core())  # pinned again, since web processes may be descendants of `behind`


def sound(report: Report, *, refused: Iterable[str] = ()) -> Report:
    """Return the report. Raise if the load was late or got unexpected answers."""
    if report.void:
        raise Void(report.void)
    odd = set(report.statuses) - {"202", "201", "200", "304", *refused}
    if odd or not report.accepted:
        raise LoadFailed(f"unexpected answers: {report.statuses} {report.codes}")
    return report
