"""A viewer's WebSocket, as a plain ASGI application.

Not a Channels consumer class: that one asks for database connections to be closed on a
shared thread at every message it dispatches, and makes each viewer a channel of its own.
Where the server can take an idle connection over, nothing of this runs while a viewer watches.
"""

from __future__ import annotations

import logging
from typing import Any

from polls.http.lanes import is_secure, knows_host
from polls.http.origins import origin_allowed, origin_of
from polls.models import canonical_code
from realtime.channels import UNKNOWN_POLL, Room, Seat
from realtime.connections.asgi_sender import PlainLine
from realtime.handover import HAND_OVER
from realtime.hub import get_hub
from realtime.protocol import Message

logger = logging.getLogger(__name__)

FOREIGN_ORIGIN, TRY_LATER = 4403, 1013
#: The query of screens that the organiser watches: they are no audience.
NO_AUDIENCE = b"audience=no"

Scope = dict[str, Any]


async def tally_socket(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    # Accepted before it may be refused: a browser is told the code only of a socket that was open.
    await send({"type": "websocket.accept"})
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"")
    origin = origin_of(scope["headers"])
    # A host that isn't ours: its page may have our address by now, and an origin to match.
    if not knows_host(host) or not origin_allowed(origin, host.decode("latin-1"), secure=is_secure(scope)):
        await send({"type": "websocket.close", "code": FOREIGN_ORIGIN})
        return
    try:
        room = await get_hub().room(canonical_code(scope["url_route"]["kwargs"]["code"]))
    except Exception:
        logger.warning("viewer_not_let_in", exc_info=True)
        await send({"type": "websocket.close", "code": TRY_LATER})
        return
    if room is None:
        await send({"type": "websocket.close", "code": UNKNOWN_POLL})
        return
    counted = scope["query_string"] != NO_AUDIENCE
    await _watch(room, Seat(room, headers.get(b"cookie", b""), counted=counted), scope, receive, send)


async def _watch(room: Room, seat: Seat, scope: Scope, receive: Any, send: Any) -> None:
    hand_over = scope.get("extensions", {}).get(HAND_OVER)
    line = hand_over(seat) if hand_over else None
    if line is not None:
        room.admit(seat, line)
        await get_hub().look_who(seat)
        return

    async def send_text(message: Message) -> None:
        await send({"type": "websocket.send", "text": message.text})

    plain = PlainLine(seat, send_text)
    room.admit(seat, plain)
    code = await plain.run(_read(receive, seat))
    if code is not None:
        await send({"type": "websocket.close", "code": code})


async def _read(receive: Any, seat: Seat) -> None:
    """Until the viewer leaves: the only thing it can ask is whether it may see the tally now."""
    await get_hub().look_who(seat)
    while (message := await receive())["type"] != "websocket.disconnect":
        seat.on_message(message.get("text") or "")
