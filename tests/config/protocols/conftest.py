import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

#: Run on uvloop, which servers use, and on asyncio's own loop, to show what depends on one of them.
ON_BOTH_LOOPS = (
    *("test_keepalive.py", "test_handover.py"),
    *("test_viewer_connection.py", "test_websocket_connection.py"),
)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], Any]]:
    loops: dict[str, Callable[[], Any]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ON_BOTH_LOOPS:
        loops["uvloop"] = uvloop.new_event_loop
    return loops
