"""The ASGI application: fast lanes and Django for HTTP, the hub for WebSockets. It starts no threads."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django
from channels.routing import URLRouter
from django.conf import settings
from django.urls import re_path

from config.serving.django_handler import OneHopHandler

django.setup(set_prefix=False)
django_application = OneHopHandler()

# After django.setup(), because these import models.
from config.assets.compression import Compression
from config.assets.page_cache import PageCache
from config.operations.request_id import RequestId
from config.security.body_limit import BodyLimit
from config.urls import urlpatterns as urlpatterns  # imported now; otherwise the first request would wait
from polls.api.voter_lane import VoterLane
from polls.casting.asgi_lane import AsgiLane
from polls.casting.raw_http_lane import RawHttpLane
from polls.http.lanes import Reply
from polls.http.raw_get_lane import RawGetLane
from realtime.connections.event_stream import EventStreamLane
from realtime.connections.routing import websocket_urlpatterns
from realtime.connections.tally_endpoint import TallyLane

Scope = dict[str, Any]


async def unknown_socket(scope: Scope, receive: Any, send: Any) -> None:
    """Accept the WebSocket, then close it: otherwise browsers wouldn't see the close code."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 4404})


async def lifespan(scope: Scope, receive: Any, send: Any) -> None:
    """Acknowledge lifespan events. No other code may depend on these events, since Daphne sends none."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


# No AuthMiddlewareStack: it would query the database for every viewer, and few need authentication.
websocket = URLRouter([*websocket_urlpatterns, re_path(r"", unknown_socket)])  # type: ignore[arg-type]
# Each fast lane passes requests that it doesn't answer to the next application.
compressed = Compression(TallyLane(EventStreamLane(django_application)))
pages = PageCache(RequestId(BodyLimit(compressed, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)))
casts = AsgiLane(pages)
http = voters = VoterLane(casts)
raw_casts, raw_gets = RawHttpLane(casts).take, RawGetLane([pages, voters]).take


def raw_lane(data: bytes, reply: Reply, peer: tuple[str, int] | None, scheme: str | None) -> bool:
    """Answer a request from its bytes, on uvicorn; return False if the server has to parse them."""
    return (raw_gets if data.startswith(b"G") else raw_casts)(data, reply, peer, scheme)


HANDLERS = {"http": http, "websocket": websocket, "lifespan": lifespan}


async def application(scope: Scope, receive: Any, send: Any) -> None:
    await HANDLERS[scope["type"]](scope, receive, send)
