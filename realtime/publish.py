"""Telling the hubs of all processes that polls have changed, through their Channels groups.

Called from workers and web threads, which have no event loop of their own: one thread with
a loop does the sending, conflates what comes while it sends, and holds nobody up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from .protocol import group_name

logger = logging.getLogger(__name__)


class Announcer:
    def __init__(self) -> None:
        self._pending: set[int] = set()
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled_on: asyncio.AbstractEventLoop | None = None
        self._hub_loop: asyncio.AbstractEventLoop | None = None

    def announce(self, poll_ids: set[int]) -> None:
        with self._lock:
            self._pending |= poll_ids
            loop = self._sending_loop()
            if loop is None or loop is self._scheduled_on:
                return
            self._scheduled_on = loop
        asyncio.run_coroutine_threadsafe(self._send(), loop)

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop of this process's hub: the in-memory layer's queues belong to it alone."""
        self._hub_loop = loop

    def _sending_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop to send from; None where nobody can be listening."""
        if isinstance(get_channel_layer(), InMemoryChannelLayer):
            if self._hub_loop is None or self._hub_loop.is_closed():
                self._pending.clear()
                return None
            return self._hub_loop
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="announcer", daemon=True).start()
        return self._loop

    async def _send(self) -> None:
        layer: Any = get_channel_layer()
        while True:
            with self._lock:
                poll_ids, self._pending = self._pending, set()
                if not poll_ids:
                    self._scheduled_on = None
                    return
            for poll_id in poll_ids:
                try:
                    await layer.group_send(group_name(poll_id), {"type": "poll.changed", "poll": poll_id})
                except Exception:
                    # A hint: the hubs find out within a second by themselves.
                    logger.warning("announcement_lost", extra={"poll": poll_id}, exc_info=True)


_announcer = Announcer()
announce = _announcer.announce
use_loop = _announcer.use_loop
