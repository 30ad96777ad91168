"""Receives the hints of realtime/publish.py, through the Channels groups of the polls watched here.

A hint may be lost, so once a second the hub also compares its tallies with the database.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from channels.layers import get_channel_layer

from realtime.protocol import group_name

logger = logging.getLogger(__name__)

READY_TIMEOUT_SECONDS = 1.0  # how long a viewer waits for a channel layer that is down
RETRY_SECONDS = 0.5


class HintReceiver:
    """The channel of this process in the channel layer. A process has only one channel."""

    def __init__(self) -> None:
        self._layer: Any = get_channel_layer()
        self._name = ""  # the channel's name in the layer; empty while there is no channel
        self._ready = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return bool(self._name)

    async def wait_until_ready(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                await self._ready.wait()

    async def subscribe(self, poll_id: int) -> bool:
        """Join the poll's group. Return False if this failed, so that the hub tries again."""
        joined = self._layer.group_add(group_name(poll_id), self._name)
        return await _succeeds(joined, "group_add_failed", poll_id)

    async def unsubscribe(self, poll_id: int) -> None:
        left = self._layer.group_discard(group_name(poll_id), self._name)
        await _succeeds(left, "group_discard_failed", poll_id)

    async def send(self, poll_id: int, type_: str, content: dict[str, Any]) -> None:
        """Send a message to the hubs of all processes that watch this poll."""
        message = {"type": type_, "poll": poll_id, **content}
        await _succeeds(self._layer.group_send(group_name(poll_id), message), "group_send_failed", poll_id)

    async def run(self, on_hint: Callable[[dict[str, Any]], None], on_lost: Callable[[], None]) -> None:
        """Receive hints until cancelled. After a failure, use a new channel, which is in no group."""
        while not is_cancelled():
            try:
                if self._name:
                    on_hint(await self._layer.receive(self._name))
                else:  # no other code makes a channel, since messages to a second channel would be lost
                    self._name = await self._layer.new_channel()
                    self._ready.set()
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.warning("channel_layer_failed", exc_info=True)
                self._name = ""
                self._ready.clear()
                on_lost()
                await asyncio.sleep(RETRY_SECONDS)


def is_cancelled() -> bool:
    """Whether the current task was cancelled. A Redis call may swallow the CancelledError and return."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _succeeds(call: Awaitable[None], failure: str, poll_id: int) -> bool:
    """Await a call of the channel layer. If the call fails, log `failure` and return False."""
    try:
        await call
    except Exception:
        logger.warning(failure, extra={"poll": poll_id})
        return False
    return True
