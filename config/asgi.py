"""The ASGI application: HTTP to Django, WebSockets to the hub's consumers.

Nothing is started here: a server imports this module, and the command that serves starts what else is needed.
"""

from __future__ import annotations

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

# After Django's set-up, for these import models.
from config.assets.compression import Compression
from config.operations.request_id import RequestId
from config.security.body_limit import BodyLimit
from config.urls import urlpatterns as urlpatterns  # now, or the first request of all would wait for them
from polls.casting.asgi_lane import AsgiLane
from realtime.connections.event_stream import EventStreamLane
from realtime.connections.routing import websocket_urlpatterns
from realtime.connections.tally_endpoint import TallyLane

Scope = dict[str, Any]


async def unknown_socket(scope: Scope, receive: Any, send: Any) -> None:
    """Accept, then close: a browser is told the code only of a socket that was open."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 4404})


async def lifespan(scope: Scope, receive: Any, send: Any) -> None:
    """Daphne has no lifespan, so nothing depends on it; uvicorn only wants an answer."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


# No AuthMiddlewareStack: it would cost every viewer queries, and few need to be known.
websocket = URLRouter([*websocket_urlpatterns, re_path(r"", unknown_socket)])  # type: ignore[arg-type]
# The fast lanes first: whatever they don't know they pass on.
shown = Compression(TallyLane(EventStreamLane(django_application)))
http = AsgiLane(RequestId(BodyLimit(shown, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)))
HANDLERS = {"http": http, "websocket": websocket, "lifespan": lifespan}


async def application(scope: Scope, receive: Any, send: Any) -> None:
    await HANDLERS[scope["type"]](scope, receive, send)
