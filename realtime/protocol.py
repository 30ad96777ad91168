"""The messages to viewers: pure functions from documents to bytes.

    {"type": "tally", …}     the tally endpoint's document
    {"type": "state", …}     the poll's state has changed
    {"type": "viewers", …}   the number of viewers, also sent as a heartbeat

A message is encoded once, down to the bytes on the wire, and the same bytes go to all viewers. A viewer
compares (epoch, revision, version), and drops messages that are older than its newest message.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from analytics.results.documents import document, state_message
from analytics.results.tallies import Snapshot
from analytics.results.visibility import Viewer, may_see

_encode = msgspec.json.encode
#: recheck: check again whether this viewer may see the tally. ping: show that the connection still works.
REQUESTS = ("recheck", "ping")
_FINAL_TEXT = b"\x81"


def group_name(poll_id: int) -> str:
    return f"poll.{poll_id}"


class Message:
    """A message, encoded for every kind of connection. Messages with the same content are equal."""

    __slots__ = ("chunk", "event", "frame", "text")

    def __init__(self, content: Mapping[str, Any]) -> None:
        payload = _encode(content)
        self.text = payload.decode()  # the message for servers that build their own frames
        self.frame = websocket_frame(payload)
        self.event = b"event: %s\ndata: %s\n\n" % (content["type"].encode(), payload)
        self.chunk = http_chunk(self.event)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def websocket_frame(payload: bytes) -> bytes:
    """Encode a whole text message of a server as one frame, unmasked and uncompressed (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return b"%b%c%b" % (_FINAL_TEXT, length, payload)
    if length < 65536:
        return b"%b\x7e%b%b" % (_FINAL_TEXT, length.to_bytes(2, "big"), payload)
    return b"%b\x7f%b%b" % (_FINAL_TEXT, length.to_bytes(8, "big"), payload)


def http_chunk(part: bytes) -> bytes:
    """Encode a part of an HTTP/1.1 body as a chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(part), part)


def viewers_message(count: int) -> Message:
    return Message({"type": "viewers", "count": count})


@dataclass(frozen=True, slots=True)
class Frames:
    """A snapshot as messages: the state, and a tally for each kind of viewer. Kinds often share a tally."""

    stamp: tuple[int, int, int]
    round: int
    results_visible: str
    state: Message
    tally: Mapping[Viewer, Message]
    document: bytes | None = None  # the tally endpoint's response; None if it depends on the viewer


def build_frames(snap: Snapshot, before: Frames | None = None) -> Frames:
    """Encode a snapshot. Reuse parts of `before`, earlier frames that differ only in the figures."""
    poll = snap.poll
    shown_document = document(snap, visible=True)
    shown = Message({"type": "tally", **shown_document})
    hidden = (
        before.tally
        if before
        else dict.fromkeys(Viewer, Message({"type": "tally", **document(snap, visible=False)}))
    )
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
        document=_encode(shown_document) if tally[Viewer.PUBLIC] is shown else None,
    )


def reuse_unchanged(frames: Frames, before: Frames) -> Frames:
    """Replace messages in `frames` by equal messages of `before`, so that `is` finds the changed ones."""
    same = {message: message for message in (before.state, *before.tally.values())}
    return replace(
        frames,
        state=same.get(frames.state, frames.state),
        tally={viewer: same.get(message, message) for viewer, message in frames.tally.items()},
    )


def parse_request(text: str | None) -> str | None:
    """Return what a client's message asks for: one of REQUESTS, or None for anything else."""
    try:
        message = msgspec.json.decode(text or "")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    asked = message.get("type") if isinstance(message, dict) else None
    return asked if isinstance(asked, str) and asked in REQUESTS else None
