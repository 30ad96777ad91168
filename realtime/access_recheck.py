"""Rechecks the access of viewers who see more than the public.

Staff who log out, are deactivated or lose their second factor stop seeing a hidden tally at the next recheck.
When a poll stops showing its tally to voters, they stop seeing it at the next recheck too. While the database
is down nobody can be checked, but new tallies, which come from the same database, aren't shown either.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from analytics.results.visibility import Viewer
from realtime.channels import Channel, Subscriber
from realtime.viewer_access import identify_viewers

logger = logging.getLogger(__name__)

#: The time between two rechecks of staff. A viewer's loss of access is noticed after at most this time and
#: one check of the hub.
RECHECK_SECONDS = 5.0
#: The number of viewers checked in one call to a thread. A new viewer's check must not wait long for a
#: thread.
BATCH_SIZE = 50


def subscribers_due(channel: Channel, now: float) -> list[Subscriber]:
    """Return the subscribers to recheck now, and note that they are being rechecked.

    Staff are rechecked every few seconds. If the poll has changed, voters are rechecked too. If the setting
    of who may see the tally has changed, all viewers with cookies are rechecked.
    """
    frames, recheck = channel.frames, channel.access_recheck
    if frames is None or recheck.task is not None:
        return []
    if frames.document is not None:  # the tally is public
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
    """Identify each subscriber again. A subscriber whose kind has changed is sent that kind's tally."""
    try:
        for start in range(0, len(subscribers), BATCH_SIZE):
            batch = subscribers[start : start + BATCH_SIZE]
            frames = channel.frames
            if frames is None:
                return
            cookies = [subscriber.cookie for subscriber in batch]
            kinds = await in_thread(identify_viewers, cookies, channel.code, frames.results_visible)
            if channel.frames is None or channel.frames.stamp[:2] != frames.stamp[:2]:
                channel.access_recheck.poll_stamp = ()  # the poll has changed, so the answers are out of date
                return
            for subscriber, kind in zip(batch, kinds, strict=True):
                if subscriber.kind is not kind:
                    subscriber.set_kind(kind)
    except Exception:
        logger.warning("access_recheck_failed", extra={"poll": channel.poll_id}, exc_info=True)
        channel.access_recheck.poll_stamp = ()
    finally:
        channel.access_recheck.task = None
