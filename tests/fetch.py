"""HTTP and WebSocket clients with long timeouts: on a busy machine, the libraries' defaults are too short."""

from functools import partial

import httpx
import websockets.asyncio.client
import websockets.sync.client

from tests.servers import PATIENCE

#: The tests use no TLS, and loading the system's certificates would take 50 ms per client.
OPTIONS = {"timeout": PATIENCE, "verify": False}

Client = partial(httpx.Client, **OPTIONS)
AsyncClient = partial(httpx.AsyncClient, **OPTIONS)
request = partial(httpx.request, **OPTIONS)
stream = partial(httpx.stream, **OPTIONS)
get = partial(httpx.get, **OPTIONS)
post = partial(httpx.post, **OPTIONS)

SOCKET_OPTIONS = {"open_timeout": PATIENCE, "ping_timeout": PATIENCE, "close_timeout": PATIENCE}
websocket = partial(websockets.sync.client.connect, **SOCKET_OPTIONS)
async_websocket = partial(websockets.asyncio.client.connect, **SOCKET_OPTIONS)
