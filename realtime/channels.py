"""Who watches a poll in this process, and what each of them has got of what it shows.

Nothing waits in a queue for a viewer. A room has the newest message of each sort, a seat
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
from realtime.protocol import Frames, Message, request_in, unchanged_kept, viewers_message
from realtime.tally_reader import Reading

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0  # a viewer that hears nothing for longer may take the line for dead
STALLED_SECONDS = 10.0  # a line that takes nothing for so long ends
STRETCH = 128  # viewers served before others have a turn on the event loop: about a millisecond
UNKNOWN_POLL = 4404
#: What one viewer may say within a second or so. Ours ask once, after voting.
MESSAGES_AT_MOST = 20

PUBLIC = Viewer.PUBLIC


GOT = ("state", "tally", "viewers")
RECHECK = ("asked", "looked_at", "looking")


class Seat:
    """One viewer in a room: what it may see, and which messages it has got."""

    __slots__ = ("cookie", "counted", "kind", "line", "room", *GOT, *RECHECK)

    def __init__(self, room: Room, cookie: bytes = b"", *, counted: bool = True) -> None:
        self.room = room
        self.cookie = cookie
        self.counted = counted
        self.kind = PUBLIC
        self.line: Connection | None = None
        self.state: Message | None = None
        self.tally: Message | None = None
        self.viewers: Message | None = None
        # Of a recheck: wanted, when the last was, and the task that does it.
        self.asked = False
        self.looked_at = 0.0
        self.looking: asyncio.Task[None] | None = None

    def catch_up(self) -> None:
        """Send what the room shows and this viewer hasn't got; nothing while its line is held up."""
        line, room = self.line, self.room
        frames = room.frames
        if line is None or frames is None or line.writing_paused:
            return
        if self.state is not frames.state:
            self.state = frames.state
            line.send(frames.state)
        tally = frames.tally[self.kind]
        if self.tally is not tally and not line.writing_paused:
            self.tally = tally
            line.send(tally)
        if self.viewers is not room.viewers and room.viewers is not None and not line.writing_paused:
            self.viewers = room.viewers
            line.send(room.viewers)

    def see_as(self, kind: Viewer, *, again: bool = False) -> None:
        """From now on see what `kind` may see, and at once; `again` sends it even if it has been sent."""
        self.kind = kind
        if again:
            self.tally = None
        self.catch_up()

    def answer_ping(self) -> None:
        """Send the state again: a page that is looked at after a while asks whether its connection lives."""
        self.state = None
        self.catch_up()

    # What its line tells it.

    def on_message(self, text: str) -> None:
        self.room.talk[self] += 1
        if self.room.talk[self] > MESSAGES_AT_MOST:
            if self.line is not None:
                self.line.close(POLICY_VIOLATION)
            return
        match request_in(text):
            case "recheck":
                self.room.recheck(self)
            case "ping":
                self.answer_ping()

    def on_writing_paused(self) -> None:
        self.room.held.setdefault(self, time.monotonic())

    def on_writing_resumed(self) -> None:
        self.room.held.pop(self, None)
        self.catch_up()

    def on_closed(self) -> None:
        self.line = None
        self.room.leave(self)


class Review:
    """When it was last asked who of a room's viewers may see what (realtime/access_recheck.py)."""

    __slots__ = ("at", "hides", "stands", "task")

    def __init__(self) -> None:
        self.at = 0.0
        self.stands: tuple[int, ...] = ()  # epoch and revision of the poll then
        self.hides = ""  # from whom
        self.task: asyncio.Task[None] | None = None


class Room:
    """A poll that somebody in this process watches."""

    def __init__(self, poll_id: int, code: str, recheck: Callable[[Seat], None]) -> None:
        self.poll_id = poll_id
        self.code = code
        self.recheck = recheck
        self.seats: set[Seat] = set()
        self.audience = 0  # seats that are counted as viewers
        self.held: dict[Seat, float] = {}  # whose line is held up, and since when
        self.read: Reading | None = None  # the newest, whether it is shown or looks back
        self.frames: Frames | None = None
        self.viewers: Message | None = None
        self.presence = Presence()
        self.viewers_told = (-1, 0.0)  # count, when
        self.subscribed = False
        self.needed_at = time.monotonic()  # when the last viewer left, or somebody asked
        self.sent_at = 0.0
        self.stale = False
        self.flushing: asyncio.Task[None] | None = None
        # What changes in this process is marked at once, from any thread; a later read makes it good.
        self.change = self.change_read = object()
        self.confirmed_at = 0.0
        self.review = Review()
        self.talk: Counter[Seat] = Counter()  # messages since the last look at the database
        self._behind = False
        self._delivering: asyncio.Task[None] | None = None

    def admit(self, seat: Seat, line: Connection) -> None:
        """Give a viewer the snapshot, and from now on what changes."""
        assert self.frames
        seat.line = line
        self.seats.add(seat)
        self.audience += seat.counted
        seat.state, seat.tally, seat.viewers = self.frames.state, self.frames.tally[seat.kind], self.viewers
        line.send(seat.tally)
        line.send(viewers_message(self.presence.total(self.audience, time.monotonic())))

    def leave(self, seat: Seat) -> None:
        if seat in self.seats:
            self.seats.remove(seat)
            self.audience -= seat.counted
        self.held.pop(seat, None)
        self.talk.pop(seat, None)
        if not self.seats:
            self.needed_at = time.monotonic()

    def show(self, frames: Frames) -> None:
        before = self.frames
        if before is None:
            self.frames = frames
            return
        self.frames = unchanged_kept(frames, before)
        if before.round != frames.round:
            # Who voted in the last round has not voted in this one.
            for seat in self.seats:
                if seat.kind is Viewer.VOTED:
                    seat.kind = PUBLIC
        self._tell()

    def tell_viewers(self, now: float, *, on_change: bool = True) -> None:
        """How many watch, on change and now and then anyway: so a viewer knows that its line lives."""
        count = self.presence.total(self.audience, now)
        told, told_at = self.viewers_told
        if (on_change and count != told) or now - told_at >= HEARTBEAT_SECONDS:
            self.viewers_told = (count, now)
            self.viewers = viewers_message(count)
            self._tell()

    def end_stalled(self, now: float) -> None:
        """Let those go who have taken nothing for too long."""
        for seat, since in list(self.held.items()):
            if now - since >= STALLED_SECONDS and seat.line is not None:
                seat.line.abort()

    def dissolve(self) -> None:
        """The poll is no more."""
        for seat in list(self.seats):
            if seat.line is not None:
                seat.line.close(UNKNOWN_POLL)

    def end(self) -> list[asyncio.Task[None]]:
        """Stop what runs for this room; the tasks to wait for."""
        tasks = [task for task in (self.flushing, self._delivering, self.review.task) if task]
        tasks += [seat.looking for seat in self.seats if seat.looking]
        for task in tasks:
            task.cancel()
        return tasks

    def _tell(self) -> None:
        """Hand out what is new. A round that is under way takes it along, and goes round once more."""
        self._behind = True
        if self._delivering is None and self.seats:
            self._delivering = asyncio.ensure_future(self._deliver())

    async def _deliver(self) -> None:
        try:
            while self._behind:
                self._behind = False
                for number, seat in enumerate(tuple(self.seats), 1):
                    seat.catch_up()
                    if number % STRETCH == 0:
                        await asyncio.sleep(0)
        finally:
            self._delivering = None
