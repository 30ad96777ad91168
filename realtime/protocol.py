"""The messages that every screen gets: pure functions from documents to frames.

    {"type": "tally", …}     the tally endpoint's document
    {"type": "state", …}     the poll moved in its lifecycle
    {"type": "viewers", …}   how many are watching; also the heartbeat

A frame is text, encoded once and sent to all. Viewers drop what is older than what they
have, in (epoch, revision, version).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from analytics.tallies import Snapshot, Viewer, document, may_see, state_message

_encode = msgspec.json.encode


def group_of(poll_id: int) -> str:
    """The Channels group in which hubs hear of this poll."""
    return f"poll.{poll_id}"


def frame(message: Mapping[str, Any]) -> str:
    return _encode(message).decode()


def viewers_frame(count: int) -> str:
    return frame({"type": "viewers", "count": count})


@dataclass(frozen=True, slots=True)
class Frames:
    """A snapshot as frames: one for each kind of viewer (most of them the same string), and the state."""

    stamp: tuple[int, int, int]
    round: int
    results_visible: str
    state: str
    tally: Mapping[Viewer, str]


def frames_of(snap: Snapshot) -> Frames:
    shown = frame({"type": "tally", **document(snap, visible=True)})
    hidden = frame({"type": "tally", **document(snap, visible=False)})
    poll = snap.poll
    return Frames(
        stamp=snap.stamp,
        round=poll.round,
        results_visible=poll.results_visible,
        state=frame(state_message(poll)),
        tally={
            viewer: shown if may_see(poll.state, poll.results_visible, viewer) else hidden
            for viewer in Viewer
        },
    )


def recheck_wanted(text: str | None) -> bool:
    """Whether a client's message asks to look again whether it may see the tally; the only one we heed."""
    try:
        message = msgspec.json.decode(text or "")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("type") == "recheck"
