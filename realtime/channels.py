"""Who watches a poll in this process, and what each of them has got of what it shows.

Nothing waits in a queue for a viewer. A channel has the newest message of each sort, a subscriber
remembers which of them it was sent last, and the difference is what the viewer still gets:
one that is slow skips what came between by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from analytics.results.visibility import Viewer
from realtime.handover import POLICY_VIOLATION, Connection
from realtime.presence import Presence
from realtime.protocol import Frames, Message, parse_request, reuse_unchanged, viewers_message
from realtime.tally_reader import Reading

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0  # a viewer that hears nothing for longer may take the connection for dead
STALLED_SECONDS = 10.0  # a connection that takes nothing for so long ends
BATCH_SIZE = 128  # viewers served before others have a turn on the event loop: about a millisecond
UNKNOWN_POLL = 4404
#: What one viewer may say within a second or so. Ours ask once, after voting.
MAX_MESSAGES = 20

PUBLIC = Viewer.PUBLIC


GOT = ("state", "tally", "viewers")
RECHECK = ("recheck_requested", "rechecked_at", "recheck_task")


class Subscriber:
    """One viewer in a channel: what it may see, and which messages it has got."""

    __slots__ = ("cookie", "counted", "kind", "connection", "channel", *GOT, *RECHECK)

    def __init__(self, channel: Channel, cookie: bytes = b"", *, counted: bool = True) -> None:
        self.channel = channel
        self.cookie = cookie
        self.counted = counted
        self.kind = PUBLIC
        self.connection: Connection | None = None
        self.state: Message | None = None
        self.tally: Message | None = None
        self.viewers: Message | None = None
        # Of a request_recheck: wanted, when the last was, and the task that does it.
        self.recheck_requested = False
        self.rechecked_at = 0.0
        self.recheck_task: asyncio.Task[None] | None = None

    def send_pending(self) -> None:
        """Send what the channel shows and this viewer hasn't got, unless its connection is paused."""
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
        """From now on see what `kind` may see, and at once; `resend` sends it even if it has been sent."""
        self.kind = kind
        if resend:
            self.tally = None
        self.send_pending()

    def answer_ping(self) -> None:
        """Send the state resend: a page that is looked at after a while asks whether its connection lives."""
        self.state = None
        self.send_pending()

    # What its connection tells it.

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
                self.answer_ping()

    def on_writing_paused(self) -> None:
        self.channel.paused.setdefault(self, time.monotonic())

    def on_writing_resumed(self) -> None:
        self.channel.paused.pop(self, None)
        self.send_pending()

    def on_closed(self) -> None:
        self.connection = None
        self.channel.unsubscribe(self)


class AccessRecheck:
    """When it was last asked who of a channel's viewers may see what (realtime/access_recheck.py)."""

    __slots__ = ("poll_stamp", "results_visible", "started_at", "task")

    def __init__(self) -> None:
        self.started_at = 0.0
        self.poll_stamp: tuple[int, ...] = ()  # epoch and revision of the poll then
        self.results_visible = ""  # from whom
        self.task: asyncio.Task[None] | None = None


class Channel:
    """A poll that somebody in this process watches."""

    def __init__(self, poll_id: int, code: str, request_recheck: Callable[[Subscriber], None]) -> None:
        self.poll_id = poll_id
        self.code = code
        self.request_recheck = request_recheck
        self.subscribers: set[Subscriber] = set()
        self.viewer_count = 0  # subscribers that are counted as viewers
        self.paused: dict[Subscriber, float] = {}  # whose connection is held up, and since when
        self.reading: Reading | None = None  # the newest, whether it is shown or looks back
        self.frames: Frames | None = None
        self.viewers: Message | None = None
        self.presence = Presence()
        self.viewers_sent = (-1, 0.0)  # count, when
        self.subscribed = False
        self.last_used_at = time.monotonic()  # when the last viewer left, or somebody recheck_requested
        self.sent_at = 0.0
        self.stale = False
        self.refresh_task: asyncio.Task[None] | None = None
        # What changes in this process is marked at once, from any thread; a later read makes it good.
        self.change = self.change_seen = object()
        self.confirmed_at = 0.0
        self.access_recheck = AccessRecheck()
        self.message_counts: Counter[Subscriber] = Counter()  # messages since the last look at the database
        self._behind = False
        self._delivery_task: asyncio.Task[None] | None = None

    def subscribe(self, subscriber: Subscriber, connection: Connection) -> None:
        """Give a viewer the snapshot, and from now on what changes."""
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
            # Who voted in the last round has not voted in this one.
            for subscriber in self.subscribers:
                if subscriber.kind is Viewer.VOTED:
                    subscriber.kind = PUBLIC
        self._start_delivery()

    def send_viewer_count(self, now: float, *, on_change: bool = True) -> None:
        """How many watch, on change and now and then anyway: so a viewer knows that its connection lives."""
        count = self.presence.total(self.viewer_count, now)
        told, told_at = self.viewers_sent
        if (on_change and count != told) or now - told_at >= HEARTBEAT_SECONDS:
            self.viewers_sent = (count, now)
            self.viewers = viewers_message(count)
            self._start_delivery()

    def abort_stalled(self, now: float) -> None:
        """Let those go who have taken nothing for too long."""
        for subscriber, since in list(self.paused.items()):
            if now - since >= STALLED_SECONDS and subscriber.connection is not None:
                subscriber.connection.abort()

    def close_all(self) -> None:
        """The poll is no more."""
        for subscriber in list(self.subscribers):
            if subscriber.connection is not None:
                subscriber.connection.close(UNKNOWN_POLL)

    def cancel_tasks(self) -> list[asyncio.Task[None]]:
        """Stop what runs for this channel; the tasks to wait for."""
        tasks = [task for task in (self.refresh_task, self._delivery_task, self.access_recheck.task) if task]
        tasks += [subscriber.recheck_task for subscriber in self.subscribers if subscriber.recheck_task]
        for task in tasks:
            task.cancel()
        return tasks

    def _start_delivery(self) -> None:
        """Hand out what is new. A round that is under way takes it along, and goes round once more."""
        self._behind = True
        if self._delivery_task is None and self.subscribers:
            self._delivery_task = asyncio.ensure_future(self._deliver())

    async def _deliver(self) -> None:
        try:
            while self._behind:
                self._behind = False
                for number, subscriber in enumerate(tuple(self.subscribers), 1):
                    subscriber.send_pending()
                    if number % BATCH_SIZE == 0:
                        await asyncio.sleep(0)
        finally:
            self._delivery_task = None
