"""A screen that watches a poll and checks that its tally never runs backwards."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

Stamp = tuple[int, int, int]


class Watcher:
    """Follow a poll over a WebSocket, and connect again whenever the connection ends."""

    def __init__(self, port: int, code: str) -> None:
        self._address = f"ws://127.0.0.1:{port}/ws/polls/{code}/"
        self._shown: dict[Stamp, str] = {}  # each stamp's figures, the same on every web process
        self.tally: dict[str, Any] = {}
        self.tallied_at = 0.0  # the monotonic time at which `tally` was shown
        self.connects = 0
        self.breaches: list[str] = []

    async def watch(self) -> None:
        while True:
            try:
                async with connect(self._address, open_timeout=10, proxy=None) as socket:
                    self.connects += 1
                    await self._follow(socket)
            except (OSError, TimeoutError, WebSocketException):
                await asyncio.sleep(0.2)

    async def _follow(self, socket: Any) -> None:
        # Only this connection's stamps must rise: another web process may be slightly ahead or behind.
        last: Stamp = (0, 0, 0)
        async for text in socket:
            message = json.loads(text)
            if message["type"] != "tally":
                continue
            stamp = (message["epoch"], message["revision"], message["version"])
            if stamp < last:
                self.breaches.append(f"{stamp} came after {last}")
            last = max(last, stamp)
            figures = json.dumps([message["ballots"], message["choices"]])
            if self._shown.setdefault(stamp, figures) != figures:
                self.breaches.append(f"{stamp} stood for two different tallies")
            if not self.tally or stamp >= _stamp(self.tally):  # the page ignores older tallies too
                if self.tally and message["round"] == self.tally["round"]:
                    self._check_ballots(message)
                self.tally, self.tallied_at = message, time.monotonic()

    def _check_ballots(self, message: dict[str, Any]) -> None:
        if message["ballots"] < self.tally["ballots"]:
            self.breaches.append(f"{self.tally['ballots']} ballots became {message['ballots']}")


def _stamp(tally: dict[str, Any]) -> Stamp:
    return tally["epoch"], tally["revision"], tally["version"]
