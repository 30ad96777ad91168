"""The hub watches polls for all viewers of a process. Each process has one hub.

A message in a poll's Channels group is a hint that the poll has changed. The hub then reads the tally once,
encodes it once and sends the same bytes to every viewer, at most ten times a second. Once a second it
compares the tally that it sent last with the database, so a lost hint delays a tally by a second at most.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError

from analytics.health import modes
from polls import timings
from polls.db_connections import closing_connections
from polls.models import Poll, Visibility
from realtime.access_recheck import recheck_access, subscribers_due
from realtime.channels import Channel, Subscriber
from realtime.hint_receiver import HintReceiver, is_cancelled
from realtime.overload import OverloadDetector, monitor
from realtime.publish import use_loop
from realtime.tally_reader import TallyReader
from realtime.viewer_access import identify_viewer

logger = logging.getLogger(__name__)
T = TypeVar("T")

TICK_SECONDS = 0.1  # the least time between two tallies of a poll
OVERLOAD_TICK_SECONDS = 0.5  # the least time between two tallies while the process is overloaded
CHECK_SECONDS = 1.0  # the time between two comparisons with the database
IDLE_CHANNEL_SECONDS = 30.0  # a channel without viewers is closed after this time
MIN_RECHECK_SECONDS = 0.5  # the least time between two rechecks that a viewer asks for
MAX_CODE_LENGTH = 16  # characters, as in Poll.code: longer codes are neither looked up nor kept as keys


class Hub:
    """All channels of this process, on one event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        use_loop(self.loop)
        self._process = secrets.token_hex(6)
        self._hints = HintReceiver()
        self._channels: dict[int, Channel] = {}
        self._codes: dict[str, Channel] = {}
        self._opening: dict[str, asyncio.Task[Channel | None]] = {}
        self._threads = ThreadPoolExecutor(2, "hub")
        self._reader = TallyReader()
        self.overload = OverloadDetector()
        self._tasks: list[asyncio.Task[None]] = []

    async def get_channel(self, code: str) -> Channel | None:
        """Return a poll's channel. Open the channel if needed. Return None for an unknown poll."""
        if len(code) > MAX_CODE_LENGTH:
            return None
        channel = self._codes.get(code) or await self._open_channel(code)
        return channel if channel is not None and channel.frames is not None else None

    def find_channel(self, code: str) -> Channel | None:
        """Return the poll's channel if it is open, or None."""
        return self._codes.get(code)

    @property
    def channel_count(self) -> int:
        return len(self._channels)

    def mark_changed(self, poll_ids: set[int]) -> None:
        """Note that these polls have changed since they were read. Any thread may call this."""
        for poll_id in poll_ids:
            channel = self._channels.get(poll_id)
            if channel is not None:
                channel.change = object()

    async def stop(self) -> None:
        """Stop all tasks and threads. The hub can't be used afterwards."""
        tasks = self._tasks + [task for channel in self._channels.values() for task in channel.cancel_tasks()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=True)
        self._reader.stop()

    async def check_access(self, subscriber: Subscriber, *, resend: bool = False) -> None:
        """Identify a viewer, and send it the tally it may see. `resend`: also if it has that tally."""
        channel = subscriber.channel
        try:
            while channel.frames is not None and channel.frames.results_visible != Visibility.ALWAYS:
                frames = channel.frames
                kind = await self.in_thread(
                    identify_viewer, subscriber.cookie, channel.code, frames.results_visible
                )
                # If the round has changed meanwhile, the answer is about an earlier round, and the viewer is
                # identified again.
                if channel.frames.round == frames.round:
                    subscriber.set_kind(kind, resend=resend)
                    return
        except Exception:
            # While a store is down, the viewer keeps its kind.
            logger.warning("access_check_failed", exc_info=True)

    def request_recheck(self, subscriber: Subscriber) -> None:
        """Recheck a viewer on its request. A recheck answers all requests made before it begins."""
        subscriber.recheck_requested = True
        if subscriber.recheck_task is None:
            subscriber.recheck_task = self.loop.create_task(self._run_recheck(subscriber))

    async def _run_recheck(self, subscriber: Subscriber) -> None:
        try:
            while subscriber.recheck_requested and subscriber.connection is not None:
                await _sleep_until(subscriber.rechecked_at + MIN_RECHECK_SECONDS)
                subscriber.recheck_requested, subscriber.rechecked_at = False, time.monotonic()
                await self.check_access(subscriber, resend=True)
        finally:
            subscriber.recheck_task = None

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run blocking code that may use the database."""
        return await self.loop.run_in_executor(self._threads, closing_connections, function, *args)

    async def _open_channel(self, code: str) -> Channel | None:
        """Open a poll's channel. Viewers that arrive meanwhile wait for the same channel."""
        task = self._opening.get(code)
        if task is None:
            task = self._opening[code] = asyncio.ensure_future(self._create_channel(code))
            task.add_done_callback(lambda _: self._opening.pop(code, None))
        return await asyncio.shield(task)

    async def _create_channel(self, code: str) -> Channel | None:
        poll_id = await self.in_thread(_poll_id, code)
        if poll_id is None:
            return None
        await self._start()
        channel = Channel(poll_id, code, self.request_recheck)
        # Subscribe before reading, so that no change in between is missed.
        self._channels[poll_id] = channel
        channel.subscribed = await self._hints.subscribe(poll_id)
        await self._read(channel)
        self._codes[code] = channel
        return channel

    async def _start(self) -> None:
        if not self._tasks:
            self._tasks = [
                self.loop.create_task(self._hints.run(self._handle_hint, self._forget_subscriptions)),
                self.loop.create_task(self._run_checks()),
                self.loop.create_task(monitor(self.overload, self.in_thread)),
            ]
        await self._hints.wait_until_ready()

    def _handle_hint(self, message: dict[str, Any]) -> None:
        channel = self._channels.get(message.get("poll", 0))
        if channel is None:
            return
        if message["type"] == "poll.changed":
            self.refresh(channel)
        elif message["type"] == "poll.presence" and message["process"] != self._process:
            channel.presence.receive(message["process"], message["count"], time.monotonic())

    def _forget_subscriptions(self) -> None:
        for channel in self._channels.values():
            channel.subscribed = False

    def refresh(self, channel: Channel) -> None:
        """Read and show the channel's tally, but at most once per tick."""
        channel.stale = True
        if channel.refresh_task is None:
            channel.refresh_task = self.loop.create_task(self._run_refresh(channel))

    async def _run_refresh(self, channel: Channel) -> None:
        try:
            while channel.stale:
                tick = OVERLOAD_TICK_SECONDS if self.overload.overloaded else TICK_SECONDS
                await _sleep_until(channel.refreshed_at + tick)
                channel.stale, channel.refreshed_at = False, time.monotonic()
                await self._read(channel)
        except Exception:
            logger.warning("tally_not_read", extra={"poll": channel.poll_id}, exc_info=True)
        finally:
            channel.refresh_task = None

    async def _read(self, channel: Channel) -> None:
        change, began = channel.change, time.monotonic()
        last = channel.reading
        channel.reading = await self._reader.read(channel.poll_id, last)
        frames = channel.reading.frames
        # Reads never overlap, but a replica or a restored database may return an older tally.
        if channel.frames is None or frames.stamp >= channel.frames.stamp:
            if channel.reading is not last:
                channel.update(frames)
                timings.SHOW.observe(time.monotonic() - began)
            channel.change_seen, channel.confirmed_at = change, began

    async def _run_checks(self) -> None:
        """Once a second, make up for lost hints, send viewer counts and close idle channels."""
        while not is_cancelled():
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._check_channels()
            except asyncio.CancelledError:
                raise
            except (DatabaseError, InterfaceError):
                logger.warning("database_away", exc_info=True)
                await self.in_thread(modes.publish, modes.DATABASE_AWAY)
            except Exception:
                logger.warning("hub_check_failed", exc_info=True)

    async def _check_channels(self) -> None:
        now = time.monotonic()
        for channel in list(self._channels.values()):
            channel.abort_stalled(now)
            if not channel.subscribers and now - channel.last_used_at > IDLE_CHANNEL_SECONDS:
                await self._close_channel(channel)
                continue
            if not channel.subscribed and self._hints.is_ready:
                channel.subscribed = await self._hints.subscribe(channel.poll_id)
            if channel.presence.due(channel.viewer_count, now):
                count = {"process": self._process, "count": channel.viewer_count}
                await self._hints.send(channel.poll_id, "poll.presence", count)
            channel.send_viewer_count(now, on_change=not self.overload.overloaded)
            channel.message_counts.clear()
            if subscribers := subscribers_due(channel, now):
                channel.access_recheck.task = self.loop.create_task(
                    recheck_access(channel, subscribers, self.in_thread)
                )
        channels = dict(self._channels)  # stamps() doesn't look for channels that are opened meanwhile
        known = await self._reader.stamps(list(channels))
        for poll_id, channel in channels.items():
            if poll_id not in known:
                channel.close_all()  # the poll was deleted
                await self._close_channel(channel)
            elif (
                channel.frames is not None
                and known[poll_id] == channel.frames.stamp
                and channel.change is channel.change_seen
            ):
                channel.confirmed_at = now
            else:
                self.refresh(channel)

    async def _close_channel(self, channel: Channel) -> None:
        self._channels.pop(channel.poll_id, None)
        self._codes.pop(channel.code, None)
        await self._hints.unsubscribe(channel.poll_id)


async def _sleep_until(due: float) -> None:
    await asyncio.sleep(max(0.0, due - time.monotonic()))


def _poll_id(code: str) -> int | None:
    return Poll.objects.filter(code=code).values_list("pk", flat=True).first()


_hub: Hub | None = None


def current_hub() -> Hub | None:
    """Return this process's hub, or None if there is no hub yet. Any thread may call this."""
    return _hub if _hub is not None and not _hub.loop.is_closed() else None


def get_hub() -> Hub:
    """Return the hub of the running event loop. A server process has one loop, and so one hub."""
    global _hub
    if _hub is None or _hub.loop is not asyncio.get_running_loop():
        _hub = Hub()
    return _hub
