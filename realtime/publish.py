"""Tells the hubs of all processes that polls have changed, through the polls' Channels groups.

Workers and web threads call `announce`. Workers and web threads have no event loop and must not wait, so one
thread with its own loop sends the hints. While the thread is sending, new hints for the same poll are
combined.
"""

import asyncio
import logging
import os
import threading
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from realtime.protocol import group_name

logger = logging.getLogger(__name__)


class Announcer:
    """Collects the polls that have changed, and sends a hint for each."""

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
        """Send hints from the hub's event loop if the layer is in memory. Its queues belong to that loop."""
        self._hub_loop = loop

    def _sending_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the event loop that sends hints, or None if no hub can be listening."""
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
                    # A lost hint does no harm, since the hubs find the change within a second.
                    logger.warning("announcement_lost", extra={"poll": poll_id}, exc_info=True)


_announcer = Announcer()
announce = _announcer.announce
use_loop = _announcer.use_loop
