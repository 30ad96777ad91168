"""Channels and their subscribers: a poll's viewers in this process, and the messages they were sent.

No viewer has a queue. A channel holds the newest message of each kind, and a subscriber remembers which
messages it was sent last. Newer messages are sent as soon as the viewer can take them, so a slow viewer skips
some messages.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from analytics.results.visibility import Viewer
from realtime.handover import POLICY_VIOLATION, Connection
from realtime.presence import Presence
from realtime.protocol import Frames, Message, parse_request, reuse_unchanged, viewers_message
from realtime.tally_reader import Reading

HEARTBEAT_SECONDS = 15.0  # after a longer silence, a viewer may assume that its connection is dead
STALLED_SECONDS = 10.0  # if writing is paused for longer, the connection is aborted
BATCH_SIZE = 128  # subscribers served before the event loop runs other tasks; takes about a millisecond
UNKNOWN_POLL = 4404
#: The maximum number of messages accepted from one viewer between two checks of the hub (a second).
#: Landslide's pages send one message, after voting.
MAX_MESSAGES = 20


@dataclass(slots=True, eq=False)
class Subscriber:
    """A viewer of a channel: its kind, and the messages that it was sent last."""

    channel: Channel
    cookie: bytes = b""
    counted: bool = True
    connection: Connection | None = None
    kind: Viewer = Viewer.PUBLIC
    state: Message | None = None
    tally: Message | None = None
    viewers: Message | None = None
    recheck_requested: bool = False
    recheck_task: asyncio.Task[None] | None = None
    rechecked_at: float = 0.0

    def send_pending(self) -> None:
        """Send the channel's messages that this viewer doesn't have, unless writing is paused."""
        connection, channel = self.connection, self.channel
        frames = channel.frames
        if connection is None or frames is None or connection.writing_paused:
            return
        if self.state is not frames.state:
            self.state = frames.state
            connection.send(frames.state)
        tally = frames.tally[self.kind]
        if self.tally is not tally and not connection.writing_paused:
            self.tally = tally
            connection.send(tally)
        viewers = channel.viewers
        if self.viewers is not viewers and viewers is not None and not connection.writing_paused:
            self.viewers = viewers
            connection.send(viewers)

    def set_kind(self, kind: Viewer, *, resend: bool = False) -> None:
        """Set the viewer's kind, and send its tally. `resend`: also if the viewer has that tally."""
        self.kind = kind
        if resend:
            self.tally = None
        self.send_pending()

    def on_message(self, text: str) -> None:
        self.channel.message_counts[self] += 1
        if self.channel.message_counts[self] > MAX_MESSAGES:
            if self.connection is not None:
                self.connection.close(POLICY_VIOLATION)
            return
        match parse_request(text):
            case "recheck":
                self.channel.request_recheck(self)
            case "ping":
                self.state = None  # answer the ping by sending the state again
                self.send_pending()

    def on_writing_paused(self) -> None:
        self.channel.paused.setdefault(self, time.monotonic())

    def on_writing_resumed(self) -> None:
        self.channel.paused.pop(self, None)
        self.send_pending()

    def on_closed(self) -> None:
        self.connection = None
        self.channel.unsubscribe(self)


@dataclass(slots=True)
class AccessRecheck:
    """The last recheck of a channel's viewers (realtime/access_recheck.py)."""

    started_at: float = 0.0
    poll_stamp: tuple[int, ...] = ()  # the poll's epoch and revision at the last recheck
    results_visible: str = ""  # the poll's setting at the last recheck; empty if the tally was public
    task: asyncio.Task[None] | None = None


class Channel:
    """A poll that is watched in this process."""

    def __init__(self, poll_id: int, code: str, request_recheck: Callable[[Subscriber], None]) -> None:
        self.poll_id = poll_id
        self.code = code
        self.request_recheck = request_recheck
        self.subscribers: set[Subscriber] = set()
        self.viewer_count = 0  # subscribers that count as viewers
        self.paused: dict[Subscriber, float] = {}  # the time when writing was paused
        self.reading: Reading | None = None  # the last reading; may be older than `frames`
        self.frames: Frames | None = None
        self.viewers: Message | None = None
        self.presence = Presence()
        self.viewers_sent = (-1, 0.0)  # the last count that was sent, and the time
        self.subscribed = False  # whether this process is in the poll's Channels group
        self.last_used_at = time.monotonic()  # time when the last viewer left, or the tally endpoint answered
        self.refreshed_at = 0.0
        self.stale = False
        self.refresh_task: asyncio.Task[None] | None = None
        # A change in this process sets a new `change` at once, from any thread. When a read ends, it stores
        # the `change` that it began with as `change_seen`. While the two differ, frames may be out of date.
        self.change = self.change_seen = object()
        self.confirmed_at = 0.0
        self.access_recheck = AccessRecheck()
        self.message_counts: Counter[Subscriber] = Counter()  # messages since the last check of the hub
        self._pending = False
        self._delivery_task: asyncio.Task[None] | None = None

    def subscribe(self, subscriber: Subscriber, connection: Connection) -> None:
        """Send a new viewer the snapshot, and from now on every change."""
        assert self.frames
        subscriber.connection = connection
        self.subscribers.add(subscriber)
        self.viewer_count += subscriber.counted
        subscriber.state, subscriber.viewers = self.frames.state, self.viewers
        subscriber.tally = self.frames.tally[subscriber.kind]
        connection.send(subscriber.tally)
        connection.send(viewers_message(self.presence.total(self.viewer_count, time.monotonic())))

    def unsubscribe(self, subscriber: Subscriber) -> None:
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)
            self.viewer_count -= subscriber.counted
        self.paused.pop(subscriber, None)
        self.message_counts.pop(subscriber, None)
        if not self.subscribers:
            self.last_used_at = time.monotonic()

    def update(self, frames: Frames) -> None:
        before = self.frames
        if before is None:
            self.frames = frames
            return
        self.frames = reuse_unchanged(frames, before)
        if before.round != frames.round:
            # Nobody has voted in the new round yet.
            for subscriber in self.subscribers:
                if subscriber.kind is Viewer.VOTED:
                    subscriber.kind = Viewer.PUBLIC
        self._start_delivery()

    def send_viewer_count(self, now: float, *, on_change: bool = True) -> None:
        """Send the number of viewers when the number has changed, and regularly as a heartbeat."""
        count = self.presence.total(self.viewer_count, now)
        last_count, last_at = self.viewers_sent
        if (on_change and count != last_count) or now - last_at >= HEARTBEAT_SECONDS:
            self.viewers_sent = (count, now)
            self.viewers = viewers_message(count)
            self._start_delivery()

    def abort_stalled(self, now: float) -> None:
        for subscriber, since in list(self.paused.items()):
            if now - since >= STALLED_SECONDS and subscriber.connection is not None:
                subscriber.connection.abort()

    def close_all(self) -> None:
        """Close all connections, since the poll was deleted."""
        for subscriber in list(self.subscribers):
            if subscriber.connection is not None:
                subscriber.connection.close(UNKNOWN_POLL)

    def cancel_tasks(self) -> list[asyncio.Task[None]]:
        """Cancel this channel's tasks; return them, to be awaited."""
        tasks = [task for task in (self.refresh_task, self._delivery_task, self.access_recheck.task) if task]
        tasks += [subscriber.recheck_task for subscriber in self.subscribers if subscriber.recheck_task]
        for task in tasks:
            task.cancel()
        return tasks

    def _start_delivery(self) -> None:
        """Deliver messages to all subscribers. If a delivery is under way, another delivery follows it."""
        self._pending = True
        if self._delivery_task is None and self.subscribers:
            self._delivery_task = asyncio.ensure_future(self._deliver())

    async def _deliver(self) -> None:
        try:
            while self._pending:
                self._pending = False
                for number, subscriber in enumerate(tuple(self.subscribers), 1):
                    subscriber.send_pending()
                    if number % BATCH_SIZE == 0:
                        await asyncio.sleep(0)
        finally:
            self._delivery_task = None
