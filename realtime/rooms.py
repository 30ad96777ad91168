"""Who watches a poll in this process, and what is on its way to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from analytics.tallies import Viewer

from .presence import Presence
from .protocol import Frames, viewers_frame

HEARTBEAT_SECONDS = 15.0  # a viewer that hears nothing for longer may take the line for dead
STALLED_SECONDS = 10.0  # a send that takes longer ends the viewer

Send = Callable[[str], Awaitable[None]]


class Mailbox:
    """One viewer: what it may see, and the newest message of each sort that it hasn't got yet."""

    __slots__ = ("_messages", "_wake", "kind", "room")

    def __init__(self, room: Room) -> None:
        self.room = room
        self.kind = Viewer.PUBLIC
        self._messages: dict[str, str] = {}
        self._wake = asyncio.Event()

    def put(self, sort: str, message: str) -> None:
        self._messages[sort] = message
        self._wake.set()

    async def deliver(self, send: Send) -> None:
        """Send what is put, until the connection ends or hangs (TimeoutError)."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            messages, self._messages = self._messages, {}
            for message in messages.values():
                async with asyncio.timeout(STALLED_SECONDS):
                    await send(message)


class Room:
    """A poll that somebody in this process watches."""

    def __init__(self, poll_id: int, code: str) -> None:
        self.poll_id = poll_id
        self.code = code
        self.viewers: set[Mailbox] = set()
        self.frames: Frames | None = None
        self.presence = Presence()
        self.viewers_told = (-1, 0.0)  # count, when
        self.subscribed = False
        self.empty_since = time.monotonic()
        self.sent_at = 0.0
        self.stale = False
        self.flushing: asyncio.Task[None] | None = None

    def show(self, frames: Frames) -> None:
        """Put what is new for each viewer into its mailbox."""
        before, self.frames = self.frames, frames
        if before is None:
            return
        if before.round != frames.round:
            # Who voted in the last round has not voted in this one.
            for mailbox in self.viewers:
                if mailbox.kind is Viewer.VOTED:
                    mailbox.kind = Viewer.PUBLIC
        state_changed = before.state != frames.state
        changed = {kind for kind, frame in frames.tally.items() if frame != before.tally[kind]}
        for mailbox in self.viewers:
            if state_changed:
                mailbox.put("state", frames.state)
            if mailbox.kind in changed or before.round != frames.round:
                mailbox.put("tally", frames.tally[mailbox.kind])

    def tell_viewers(self, now: float) -> None:
        count = self.presence.total(len(self.viewers), now)
        told, told_at = self.viewers_told
        if count != told or now - told_at >= HEARTBEAT_SECONDS:
            self.viewers_told = (count, now)
            message = viewers_frame(count)
            for mailbox in self.viewers:
                mailbox.put("viewers", message)
