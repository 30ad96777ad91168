"""The messages that every screen gets: pure functions from documents to bytes.

    {"type": "tally", …}     the tally endpoint's document
    {"type": "state", …}     the poll moved in its lifecycle
    {"type": "viewers", …}   how many are watching; also the heartbeat

A message is encoded once, down to the bytes on the wire, and goes to all. Viewers drop what
is older than what they have, in (epoch, revision, version).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from analytics.results.documents import document, state_message, tally_json
from analytics.results.tallies import Snapshot
from analytics.results.visibility import Viewer, may_see

_encode = msgspec.json.encode
#: recheck: look again whether I may see the tally. ping: show that this connection still carries something.
REQUESTS = ("recheck", "ping")
_FINAL_TEXT = b"\x81"


def group_name(poll_id: int) -> str:
    """The Channels group in which hubs hear of this poll."""
    return f"poll.{poll_id}"


class Message:
    """One message in every form it leaves in. Two are equal if they say the same."""

    __slots__ = ("chunk", "event", "frame", "text")

    def __init__(self, content: Mapping[str, Any]) -> None:
        payload = _encode(content)
        self.text = payload.decode()  # for a server that makes its own frames
        self.frame = websocket_frame(payload)
        self.event = b"event: %s\ndata: %s\n\n" % (content["type"].encode(), payload)
        self.chunk = http_chunk(self.event)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def websocket_frame(payload: bytes) -> bytes:
    """A whole text message as a server sends it: one frame, unmasked, uncompressed (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return b"%b%c%b" % (_FINAL_TEXT, length, payload)
    if length < 65536:
        return b"%b\x7e%b%b" % (_FINAL_TEXT, length.to_bytes(2, "big"), payload)
    return b"%b\x7f%b%b" % (_FINAL_TEXT, length.to_bytes(8, "big"), payload)


def http_chunk(part: bytes) -> bytes:
    """A part of an HTTP/1.1 body in chunked coding (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(part), part)


def viewers_message(count: int) -> Message:
    return Message({"type": "viewers", "count": count})


@dataclass(frozen=True, slots=True)
class Frames:
    """A snapshot as messages: one for each kind of viewer (most of them the same), and the state.

    `document` is what the tally endpoint answers to everybody; None where that depends on who asks.
    """

    stamp: tuple[int, int, int]
    round: int
    results_visible: str
    state: Message
    tally: Mapping[Viewer, Message]
    document: bytes | None = None


def build_frames(snap: Snapshot, before: Frames | None = None) -> Frames:
    """`before`: what an earlier tally of the same poll came to, if the poll still stands as it did.

    Only what depends on votes is then made anew.
    """
    poll = snap.poll
    shown_document = document(snap, visible=True)
    shown = Message({"type": "tally", **shown_document})
    hidden = before.tally if before else dict.fromkeys(Viewer, _hidden_tally(snap))
    tally = {
        viewer: shown if may_see(poll.state, poll.results_visible, viewer) else hidden[viewer]
        for viewer in Viewer
    }
    return Frames(
        stamp=snap.stamp,
        round=poll.round,
        results_visible=poll.results_visible,
        state=before.state if before else Message(state_message(poll)),
        tally=tally,
        document=tally_json(shown_document) if tally[Viewer.PUBLIC] is shown else None,
    )


def _hidden_tally(snap: Snapshot) -> Message:
    return Message({"type": "tally", **document(snap, visible=False)})


def reuse_unchanged(frames: Frames, before: Frames) -> Frames:
    """`frames`, with the very messages of `before` where they say the same.

    So what a viewer was sent last can be compared by identity, a pointer for each viewer.
    """
    same = {message: message for message in (before.state, *before.tally.values())}
    return Frames(
        stamp=frames.stamp,
        round=frames.round,
        results_visible=frames.results_visible,
        state=same.get(frames.state, frames.state),
        tally={viewer: same.get(message, message) for viewer, message in frames.tally.items()},
        document=frames.document,
    )


def parse_request(text: str | None) -> str | None:
    """What a client's message asks for: one of REQUESTS, or nothing that we heed."""
    try:
        message = msgspec.json.decode(text or "")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    asked = message.get("type") if isinstance(message, dict) else None
    return asked if isinstance(asked, str) and asked in REQUESTS else None
