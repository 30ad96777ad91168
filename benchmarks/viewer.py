"""A viewer that records when each number of ballots first appeared."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.servers import wait_for


class Viewer:
    """A WebSocket viewer. `ballots_in` returns the number of ballots in a message, or None."""

    def __init__(self, url: str, ballots_in: Callable[[Any], int | None]) -> None:
        self.most = 0
        self.seen_at = 0.0  # when `most` was first seen
        self.messages = 0
        self._ballots_in = ballots_in
        self._socket = connect(url, compression=None, max_queue=None)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            for frame in self._socket:
                ballots = self._ballots_in(json.loads(frame))
                self.messages += 1
                if ballots is not None and ballots > self.most:
                    self.most, self.seen_at = ballots, time.perf_counter()
        except ConnectionClosed:
            pass

    def wait_for(self, ballots: int, seconds: float) -> None:
        wait_for(
            lambda: self.most >= ballots, seconds, f"a viewer to see {ballots} ballots (saw {self.most})"
        )

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)
