"""One hub per process: it watches polls for all of the process's viewers.

The Channels group is a hint that a poll changed; the hub then reads the tally once,
encodes it once and hands everybody the same bytes, at most ten times a second. Once a
second it compares what it last sent with the database, so a lost hint costs a second.
A slow viewer skips what came between, and one that takes nothing for a while is let go.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from channels.layers import get_channel_layer
from django.db import DatabaseError, InterfaceError

from analytics.health import modes
from polls.db_connections import in_thread
from polls.models import Poll, Visibility
from realtime.access_recheck import ask_anew, viewers_to_ask
from realtime.channels import Room, Seat
from realtime.overload import Strain, keep_looking
from realtime.tally_reader import Reader
from realtime.viewer_access import kind_of

from .protocol import group_of
from .publish import use_loop

logger = logging.getLogger(__name__)
T = TypeVar("T")

TICK_SECONDS = 0.1  # between two tallies of a poll
CROWDED_TICK_SECONDS = 0.5  # while ballots need the time
WATCH_SECONDS = 1.0  # between two looks at the database
CHANNEL_PATIENCE_SECONDS = 1.0  # an absent channel layer delays the first viewer no longer
IDLE_ROOM_SECONDS = 30.0  # a room is kept this long after anybody needed it
RECHECK_SECONDS = 0.5  # a bound on what one viewer can make us look up
LONGEST_CODE = 16  # characters, as in Poll.code: nothing longer is looked up, or becomes a key


class Hub:
    """All rooms of this process, on one event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        use_loop(self.loop)
        self._process = secrets.token_hex(6)
        self._layer: Any = get_channel_layer()
        self._channel = ""
        self._listening = asyncio.Event()
        self._rooms: dict[int, Room] = {}
        self._codes: dict[str, Room] = {}
        self._entering: dict[str, asyncio.Task[Room | None]] = {}
        self._threads = ThreadPoolExecutor(2, "hub")
        self._reader = Reader()
        self.strain = Strain()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def room(self, code: str) -> Room | None:
        """The room of a poll, with its snapshot in it; None for an unknown poll."""
        if len(code) > LONGEST_CODE:
            return None
        room = self._codes.get(code) or await self._enter(code)
        return room if room is not None and room.frames is not None else None

    def open_room(self, code: str) -> Room | None:
        """The room of a poll that is being watched already."""
        return self._codes.get(code)

    @property
    def rooms(self) -> int:
        return len(self._rooms)

    def changed(self, poll_ids: set[int]) -> None:
        """These polls are not what was last read of them any more. From any thread, and at once."""
        for poll_id in poll_ids:
            room = self._rooms.get(poll_id)
            if room is not None:
                room.change = object()

    async def stop(self) -> None:
        """End what runs in the background; the hub is of no use afterwards."""
        self._stopped = True  # a cancelled call to Redis may end without saying so
        tasks = [*self._tasks, *(task for room in self._rooms.values() for task in room.end())]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=True)
        self._reader.stop()

    async def look_who(self, seat: Seat, *, asked: bool = False) -> None:
        """Find out what a viewer may see; where everybody sees everything, without a look at any store.

        One that asked gets an answer, even if it is what it has.
        """
        room = seat.room
        try:
            while room.frames is not None and room.frames.results_visible != Visibility.ALWAYS:
                frames = room.frames
                kind = await self.in_thread(kind_of, seat.cookie, room.code, frames.results_visible)
                # Who voted in a round that ended meanwhile has not voted in this one.
                if room.frames.round == frames.round:
                    seat.see_as(kind, again=asked)
                    return
        except Exception:
            # Nobody sees more for a store that doesn't answer.
            logger.warning("viewer_not_known", exc_info=True)

    def recheck(self, seat: Seat) -> None:
        """Look again, one look at a time, which answers all that was asked before it began."""
        seat.asked = True
        if seat.looking is None:
            seat.looking = self.loop.create_task(self._recheck(seat))

    async def _recheck(self, seat: Seat) -> None:
        try:
            while seat.asked and seat.line is not None:
                await asyncio.sleep(max(0.0, seat.looked_at + RECHECK_SECONDS - time.monotonic()))
                seat.asked, seat.looked_at = False, time.monotonic()
                await self.look_who(seat, asked=True)
        finally:
            seat.looking = None

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run blocking code that may use the database."""
        return await self.loop.run_in_executor(self._threads, in_thread, function, *args)

    async def _enter(self, code: str) -> Room | None:
        """The room of a poll that nobody here watches yet; those who come meanwhile share the work."""
        task = self._entering.get(code)
        if task is None:
            task = self._entering[code] = asyncio.ensure_future(self._make_room(code))
            task.add_done_callback(lambda _: self._entering.pop(code, None))
        return await asyncio.shield(task)

    async def _make_room(self, code: str) -> Room | None:
        poll_id = await self.in_thread(_poll_id, code)
        if poll_id is None:
            return None
        await self._start()
        room = Room(poll_id, code, self.recheck)
        # Subscribe before reading: a change in between is then heard of.
        self._rooms[poll_id] = room
        await self._subscribe(room)
        await self._read(room)
        self._codes[code] = room
        return room

    async def _start(self) -> None:
        if not self._tasks:
            # _listen alone makes the channel, since what is received on one is lost on another.
            self._tasks = [
                self.loop.create_task(self._listen()),
                self.loop.create_task(self._watch()),
                self.loop.create_task(keep_looking(self.strain, self.in_thread)),
            ]
        with suppress(TimeoutError):
            async with asyncio.timeout(CHANNEL_PATIENCE_SECONDS):
                await self._listening.wait()

    async def _subscribe(self, room: Room) -> None:
        try:
            await self._layer.group_add(group_of(room.poll_id), self._channel)
            room.subscribed = True
        except Exception:
            # Hints are a convenience: without them the room is a second late, and tries again.
            logger.warning("group_add_failed", extra={"poll": room.poll_id})

    async def _listen(self) -> None:
        """Take hints from the channel layer, for ever."""
        while not self._stopped:
            try:
                if not self._channel:
                    self._channel = await self._layer.new_channel()
                    self._listening.set()
                self._heed(await self._layer.receive(self._channel))
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.warning("channel_layer_failed", exc_info=True)
                self._channel = ""
                self._listening.clear()
                for room in self._rooms.values():
                    room.subscribed = False
                await asyncio.sleep(0.5)

    def _heed(self, message: dict[str, Any]) -> None:
        room = self._rooms.get(message.get("poll", 0))
        if room is None:
            return
        if message["type"] == "poll.changed":
            self.refresh(room)
        elif message["type"] == "poll.presence" and message["process"] != self._process:
            room.presence.heard(message["process"], message["count"], time.monotonic())

    def refresh(self, room: Room) -> None:
        """Read and show the room's tally: at once, or a tick after the last time."""
        room.stale = True
        if room.flushing is None:
            room.flushing = self.loop.create_task(self._flush(room))

    async def _flush(self, room: Room) -> None:
        try:
            while room.stale:
                tick = CROWDED_TICK_SECONDS if self.strain.crowded else TICK_SECONDS
                await asyncio.sleep(max(0.0, room.sent_at + tick - time.monotonic()))
                room.stale, room.sent_at = False, time.monotonic()
                await self._read(room)
        except Exception:
            logger.warning("tally_not_read", extra={"poll": room.poll_id}, exc_info=True)
        finally:
            room.flushing = None

    async def _read(self, room: Room) -> None:
        change, began = room.change, time.monotonic()
        last = room.read
        room.read = await self._reader.read(room.poll_id, last)
        frames = room.read.frames
        # Two reads never overlap, but a replica or a restored database may still look back.
        if room.frames is None or frames.stamp >= room.frames.stamp:
            if room.read is not last:
                room.show(frames)
            room.change_read, room.confirmed_at = change, began

    async def _watch(self) -> None:
        """Once a second: whatever hints were lost, presence, and rooms that nobody needs."""
        while not self._stopped:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self._look()
            except asyncio.CancelledError:
                raise
            except (DatabaseError, InterfaceError):
                logger.warning("database_away", exc_info=True)
                await self.in_thread(modes.publish, modes.DATABASE_AWAY)
            except Exception:
                logger.warning("watch_failed", exc_info=True)

    async def _look(self) -> None:
        now = time.monotonic()
        for room in list(self._rooms.values()):
            room.end_stalled(now)
            if not room.seats and now - room.needed_at > IDLE_ROOM_SECONDS:
                await self._close(room)
                continue
            if not room.subscribed and self._channel:
                await self._subscribe(room)
            if room.presence.due(room.audience, now):
                await self._tell_presence(room)
            room.tell_viewers(now, on_change=not self.strain.crowded)
            room.talk.clear()
            if seats := viewers_to_ask(room, now):
                room.review.task = self.loop.create_task(ask_anew(room, seats, self.in_thread))
        rooms = dict(self._rooms)  # one that is opened meanwhile is not in the answer
        known = await self._reader.stamps(list(rooms))
        for poll_id, room in rooms.items():
            if poll_id not in known:
                room.dissolve()  # the poll was deleted
                await self._close(room)
            elif room.frames is None or known[poll_id] != room.frames.stamp:
                self.refresh(room)
            elif room.change is room.change_read:
                room.confirmed_at = now
            else:
                self.refresh(room)

    async def _tell_presence(self, room: Room) -> None:
        message = {
            "type": "poll.presence",
            "poll": room.poll_id,
            "process": self._process,
            "count": room.audience,
        }
        try:
            await self._layer.group_send(group_of(room.poll_id), message)
        except Exception:
            logger.warning("presence_not_told", extra={"poll": room.poll_id})

    async def _close(self, room: Room) -> None:
        self._rooms.pop(room.poll_id, None)
        self._codes.pop(room.code, None)
        try:
            await self._layer.group_discard(group_of(room.poll_id), self._channel)
        except Exception:
            logger.warning("group_discard_failed", extra={"poll": room.poll_id})


def _poll_id(code: str) -> int | None:
    return Poll.objects.filter(code=code).values_list("pk", flat=True).first()


_hub: Hub | None = None


def current_hub() -> Hub | None:
    """This process's hub, if it has one yet, from any thread."""
    return _hub if _hub is not None and not _hub.loop.is_closed() else None


def get_hub() -> Hub:
    """The hub of the running event loop; a server process has one loop, and so one hub."""
    global _hub
    if _hub is None or _hub.loop is not asyncio.get_running_loop():
        _hub = Hub()
    return _hub
