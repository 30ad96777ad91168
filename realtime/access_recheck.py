"""Whether viewers who see more than everybody still may: asked again and again while they watch.

Staff who are logged out, switched off or without their second factor, and voters of a poll that isn't shown
to voters any more, see no more from the next recheck on. While the database is away nobody can be asked
about, but then there is nothing new to see either: tallies are read from the same database.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from analytics.results.visibility import Viewer
from realtime.channels import Channel, Subscriber
from realtime.viewer_access import identify_viewers

logger = logging.getLogger(__name__)

#: Between two rechecks of a channel. A lost right is noticed after this and a look more.
RECHECK_SECONDS = 5.0
#: Viewers asked about in one go, before those who come now have a turn.
BATCH_SIZE = 50


def subscribers_due(channel: Channel, now: float) -> list[Subscriber]:
    """Staff every few seconds; voters too when the poll has moved; all when it hides anew."""
    frames, recheck = channel.frames, channel.access_recheck
    if frames is None or recheck.task is not None:
        return []
    if frames.document is not None:  # everybody sees everything
        recheck.results_visible = ""
        return []
    poll_stamp = frames.stamp[:2]
    if recheck.results_visible != frames.results_visible:
        due = [subscriber for subscriber in channel.subscribers if subscriber.cookie]
    elif recheck.poll_stamp != poll_stamp:
        due = [subscriber for subscriber in channel.subscribers if subscriber.kind is not Viewer.PUBLIC]
    elif now - recheck.started_at >= RECHECK_SECONDS:
        due = [subscriber for subscriber in channel.subscribers if subscriber.kind is Viewer.STAFF]
    else:
        return []
    recheck.started_at, recheck.poll_stamp, recheck.results_visible = now, poll_stamp, frames.results_visible
    return due


async def recheck_access(
    channel: Channel, subscribers: list[Subscriber], in_thread: Callable[..., Awaitable[Any]]
) -> None:
    """One look for each, which takes away and gives."""
    try:
        for some in in_batches(subscribers):
            frames = channel.frames
            if frames is None:
                return
            cookies = [subscriber.cookie for subscriber in some]
            kinds = await in_thread(identify_viewers, cookies, channel.code, frames.results_visible)
            if channel.frames is None or channel.frames.stamp[:2] != frames.stamp[:2]:
                channel.access_recheck.poll_stamp = ()  # these answers are of an earlier state
                return
            for subscriber, kind in zip(some, kinds, strict=True):
                if subscriber.kind is not kind:
                    subscriber.set_kind(kind)
    except Exception:
        logger.warning("viewers_not_reviewed", extra={"poll": channel.poll_id}, exc_info=True)
        channel.access_recheck.poll_stamp = ()
    finally:
        channel.access_recheck.task = None


def in_batches(subscribers: list[Subscriber]) -> list[list[Subscriber]]:
    return [subscribers[start : start + BATCH_SIZE] for start in range(0, len(subscribers), BATCH_SIZE)]
