import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from tests.servers import PATIENCE

#: Run on uvloop, which serves, and on asyncio's own loop: what leans on one of them shows.
ON_BOTH_LOOPS = ("test_lines.py",)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], Any]]:
    loops: dict[str, Callable[[], Any]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ON_BOTH_LOOPS:
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture
async def watch(transactional_db: None) -> AsyncIterator[Callable[..., Any]]:
    """await watch("CODE", cookie="…") → a connected Socket; all are closed at the end, and the hub too."""
    # Not at the top: pytest reads this file before the tests have set up Django's settings.
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
