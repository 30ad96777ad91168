"""Whether viewers who see more than everybody still may: asked again and again while they watch.

Staff who are logged out, switched off or without their second factor, and voters of a poll that isn't shown
to voters any more, see no more from the next review on. While the database is away nobody can be asked about,
but then there is nothing new to see either: tallies are read from the same database.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from analytics.results.visibility import Viewer
from realtime.channels import Room, Seat
from realtime.viewer_access import kinds_of

logger = logging.getLogger(__name__)

#: Between two reviews of a room. A lost right is noticed after this and a look more.
REVIEW_SECONDS = 5.0
#: Viewers asked about in one go, before those who come now have a turn.
STRETCH = 50


def viewers_to_ask(room: Room, now: float) -> list[Seat]:
    """Staff every few seconds; voters too when the poll has moved; all when it hides anew."""
    frames, review = room.frames, room.review
    if frames is None or review.task is not None:
        return []
    if frames.document is not None:  # everybody sees everything
        review.hides = ""
        return []
    stands = frames.stamp[:2]
    if review.hides != frames.results_visible:
        asked = [seat for seat in room.seats if seat.cookie]
    elif review.stands != stands:
        asked = [seat for seat in room.seats if seat.kind is not Viewer.PUBLIC]
    elif now - review.at >= REVIEW_SECONDS:
        asked = [seat for seat in room.seats if seat.kind is Viewer.STAFF]
    else:
        return []
    review.at, review.stands, review.hides = now, stands, frames.results_visible
    return asked


async def ask_anew(room: Room, seats: list[Seat], in_thread: Callable[..., Awaitable[Any]]) -> None:
    """One look for each, which takes away and gives."""
    try:
        for some in in_stretches(seats):
            frames = room.frames
            if frames is None:
                return
            cookies = [seat.cookie for seat in some]
            kinds = await in_thread(kinds_of, cookies, room.code, frames.results_visible)
            if room.frames is None or room.frames.stamp[:2] != frames.stamp[:2]:
                room.review.stands = ()  # it moved meanwhile: these answers are of a poll that was
                return
            for seat, kind in zip(some, kinds, strict=True):
                if seat.kind is not kind:
                    seat.see_as(kind)
    except Exception:
        logger.warning("viewers_not_reviewed", extra={"poll": room.poll_id}, exc_info=True)
        room.review.stands = ()
    finally:
        room.review.task = None


def in_stretches(seats: list[Seat]) -> list[list[Seat]]:
    return [seats[start : start + STRETCH] for start in range(0, len(seats), STRETCH)]
