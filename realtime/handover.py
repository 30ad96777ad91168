"""The interface by which the application hands a viewer's connection over to the server.

A server that can take connections over offers the function HAND_OVER in the scope's extensions. Once the
WebSocket is accepted or the event stream's response has begun, the application calls HAND_OVER with the
viewer's Subscriber. HAND_OVER returns None if it can't take this connection over. If HAND_OVER returns a
Connection, the application returns while the connection stays open, so that an idle viewer costs no task and
no queue. This module imports no models, since servers are set up before Django.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .protocol import Message

HAND_OVER = "landslide.hand_over"
#: The WebSocket close code for a client that sends too many messages (RFC 6455, 7.4.1).
POLICY_VIOLATION = 1008


class Connection(Protocol):
    """Sends messages to one viewer."""

    writing_paused: bool

    def send(self, message: Message) -> None:
        """Send the whole message, now or soon. Never raise. May set `writing_paused`."""

    def close(self, code: int) -> None:
        """Close the connection in an orderly way, with `code` if the protocol has close codes."""

    def abort(self) -> None:
        """Drop the connection at once, with everything that is still to be sent."""


class ConnectionListener(Protocol):
    """Receives the events of one Connection."""

    def on_message(self, text: str) -> None:
        """The client sent a text message."""

    def on_writing_paused(self) -> None:
        """The client's receive buffer is full."""

    def on_writing_resumed(self) -> None:
        """All messages are sent, and the client takes more."""

    def on_closed(self) -> None:
        """The connection has ended or is about to. No event follows."""
