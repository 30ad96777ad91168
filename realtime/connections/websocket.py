"""A viewer's WebSocket, as a plain ASGI application.

A Channels consumer would cost more. Channels closes database connections on a shared thread at every message,
and gives each viewer a channel in the channel layer. If the server takes the connection over
(realtime/handover.py), no code of this module runs while a viewer watches.
"""

import logging
from typing import Any

from polls.http.lanes import Scope, host_allowed, is_secure
from polls.http.origins import origin_allowed, origin_of
from polls.models import canonical_code
from realtime.channels import UNKNOWN_POLL, Subscriber
from realtime.connections.asgi_connection import ASGIConnection, hand_over
from realtime.hub import get_hub
from realtime.protocol import Message

logger = logging.getLogger(__name__)

FOREIGN_ORIGIN, TRY_LATER = 4403, 1013
#: The query string of the organiser's own screens, which don't count as viewers.
NO_AUDIENCE = b"audience=no"


async def tally_socket(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    # The socket is accepted before it is refused, since a browser reports the close code only of an open
    # socket.
    await send({"type": "websocket.accept"})
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"")
    origin = origin_of(scope["headers"])
    # The host is checked too. With DNS rebinding, a foreign name resolves to this server and its origin
    # matches.
    if not host_allowed(host) or not origin_allowed(origin, host.decode("latin-1"), secure=is_secure(scope)):
        await send({"type": "websocket.close", "code": FOREIGN_ORIGIN})
        return
    try:
        channel = await get_hub().get_channel(canonical_code(scope["url_route"]["kwargs"]["code"]))
    except Exception:
        logger.warning("channel_not_opened", exc_info=True)
        await send({"type": "websocket.close", "code": TRY_LATER})
        return
    if channel is None:
        await send({"type": "websocket.close", "code": UNKNOWN_POLL})
        return
    counted = scope["query_string"] != NO_AUDIENCE
    await _serve(Subscriber(channel, headers.get(b"cookie", b""), counted=counted), scope, receive, send)


async def _serve(subscriber: Subscriber, scope: Scope, receive: Any, send: Any) -> None:
    if await hand_over(subscriber, scope):
        return

    async def send_text(message: Message) -> None:
        await send({"type": "websocket.send", "text": message.text})

    connection = ASGIConnection(subscriber, send_text)
    subscriber.channel.subscribe(subscriber, connection)
    code = await connection.run(_read_requests(receive, subscriber))
    if code is not None:
        await send({"type": "websocket.close", "code": code})


async def _read_requests(receive: Any, subscriber: Subscriber) -> None:
    """Pass the viewer's messages on until the viewer disconnects."""
    await get_hub().check_access(subscriber)
    while (message := await receive())["type"] != "websocket.disconnect":
        subscriber.on_message(message.get("text") or "")
