from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.servers import PATIENCE


@pytest.fixture
async def watch(transactional_db: None) -> AsyncIterator[Callable[..., Any]]:
    """`await watch("CODE", cookie="…")` connects a Socket. At the end, close all and stop the hub."""
    # Imported here, since pytest loads this file before Django's settings are set up.
    from realtime import hub as hub_module
    from tests.realtime.viewers import Socket

    sockets: list[Socket] = []

    async def connect(
        code: str, cookie: str = "", origin: str = "", host: str = "testserver", query: str = ""
    ) -> Any:
        headers = [(b"host", host.encode())]
        if cookie:
            headers.append((b"cookie", cookie.encode()))
        if origin:
            headers.append((b"origin", origin.encode()))
        socket = Socket(code, headers, query)
        sockets.append(socket)
        connected, _ = await socket.raw.connect(timeout=PATIENCE)
        assert connected
        return socket

    yield connect
    for socket in sockets:
        await socket.raw.disconnect(timeout=PATIENCE)
    hub = hub_module.current_hub()
    if hub is not None:
        await hub.stop()
