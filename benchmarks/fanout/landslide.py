"""Landslide as a broadcasting server: real ballots are appended to its vote log and counted."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import httpx
from websockets.sync.client import connect

from benchmarks.measure import Bench
from benchmarks.orders import Ordered
from benchmarks.processes import load_core, pid_of, pin, server_core
from tests.servers import wait_for
from tests.system import Landslide

from .servers import FanOut
from .viewers import Door, allow_many_files

#: Ballots per second. At this rate the hub finds a new tally each time it reads the tally.
BALLOTS_A_SECOND = 200
LATE = 1.1


@dataclass
class Running:
    """A system whose web processes have a core to themselves, with an open poll."""

    system: Landslide
    inside: Ordered
    code: str

    @property
    def web(self) -> list[int]:
        return self.system.children("web")

    def websocket(self) -> Door:
        return Door("websocket", f"127.0.0.1:{self.system.port}", f"/ws/polls/{self.code}/")

    def sse(self) -> Door:
        return Door("sse", f"127.0.0.1:{self.system.port}", f"/api/v1/polls/{self.code}/stream/")

    def has_sse(self) -> bool:
        with suppress(httpx.TransportError), httpx.stream("GET", self.system.url + self.sse().path) as answer:
            return answer.headers.get("content-type", "").startswith("text/event-stream")
        return False

    def frame(self) -> bytes:
        """Return a tally as a viewer gets it."""
        with connect(self.system.ws_url + self.websocket().path) as socket:
            while '"ballots"' not in (text := str(socket.recv(10))):
                pass
        return text.encode()

    def feed(self, rate: float, seconds: float) -> list[tuple[float, int]]:
        """Append ballots for the workers to count. Return pairs of a due time and the ballots due by then."""
        answer = self.inside.order("feed", code=self.code, rate=rate, seconds=seconds)
        if answer["seconds"] > LATE * seconds + 1:
            raise RuntimeError(f"{rate} ballots a second are more than could be put into the log")
        return [(due, ballots) for due, ballots in answer["cast"]]

    def restart_web(self) -> None:
        """Let the supervisor restart the web processes, and pin them to the server's core again."""
        old = set(self.web)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(set(self.web) - old) == len(old), what="new web processes")
        wait_for(self._answers, what="an answer of the new web processes")
        pin(self.web, server_core())

    def _answers(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.system.url}/healthz", timeout=10).status_code == 200
        return False

    def fan_out(self, door: Door) -> FanOut:
        def send(seconds: float) -> None:
            self.feed(BALLOTS_A_SECOND, seconds)

        return FanOut("landslide", door, self.web, send)


def run(bench: Bench, until: ExitStack, *, apart: bool = True, **options: Any) -> Running:
    """Start a system with an open poll. If `apart`, the web processes don't share a core with others."""
    allow_many_files()
    system = bench.landslide(**{"web": 1, "worker": 1} | options)
    inside = until.enter_context(Ordered("benchmarks.inside", env=system.env))
    if apart:
        assert system.redis
        assert system.postgresql
        others = [pid_of(system), pid_of(system.redis), pid_of(system.postgresql), inside.process.pid]
        pin(others, load_core())
        pin(system.children("web"), server_core())
    return Running(system, inside, inside.order("open_poll")["code"])
