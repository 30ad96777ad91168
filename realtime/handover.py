"""What a server and the hub agree on, so that a viewer's idle connection costs next to nothing.

A server that can do it offers HAND_OVER in the scope's extensions. Called with a viewer's Subscriber,
once the WebSocket is accepted or the event stream's response has begun, it returns the line to
that viewer, or None where that can't be; the application then returns, and the connection stays.
Imports no models: servers are set up before Django is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .protocol import Message

HAND_OVER = "landslide.hand_over"
#: The WebSocket close code for a client that says too much (RFC 6455, 7.4.1: a policy is violated).
POLICY_VIOLATION = 1008


class Connection(Protocol):
    """The way to one viewer."""

    writing_paused: bool

    def send(self, message: Message) -> None:
        """Take the whole message, now or soon; never raises. It may be held up afterwards."""

    def close(self, code: int) -> None:
        """Say goodbye, with a WebSocket close code where there is one."""

    def abort(self) -> None:
        """End at once, whatever was still to be sent."""


class ConnectionListener(Protocol):
    """Whom a line tells what happens on it."""

    def on_message(self, text: str) -> None:
        """The client sent a text message."""

    def on_writing_paused(self) -> None:
        """The client takes no more for now."""

    def on_writing_resumed(self) -> None:
        """It has taken all, and takes more."""

    def on_closed(self) -> None:
        """The connection has ended, or is about to; the last that is heard of it."""
