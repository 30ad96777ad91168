"""uvicorn's own protocol classes, and a way for the application to take a viewer's connection over.

`scope["extensions"]["landslide.hand_over"]`, called with a viewer's seat once its WebSocket is
accepted or its event stream has begun, returns a connection to write shared bytes to; the application
then returns. Where a connection can't be handed over it returns None, and plain sends go on.

This leans on what uvicorn keeps to itself, so it says first whether that is as it was known. Where it isn't,
the fast path is left out, and what a client may take stays bounded (config/protocols/uvicorn_limits.py).
"""

from __future__ import annotations

import logging
from typing import Any

import uvicorn

from config.protocols.uvicorn_http import LandslideHttp
from config.protocols.uvicorn_internals import FAST_PATH, LIMITS, is_supported
from config.protocols.uvicorn_limits import BoundedHttp, BoundedWebSocket
from config.protocols.uvicorn_websocket import LandslideWebSocket

logger = logging.getLogger(__name__)


def protocol_classes() -> tuple[Any, Any]:
    """For uvicorn's `http=` and `ws=`: the fast ones, or on an unknown uvicorn those that only set bounds."""
    if not is_supported(LIMITS):
        raise SystemExit(
            f"Landslide doesn't know uvicorn {uvicorn.__version__}, so it can't protect it from slow clients."
            " Install the version in requirements.txt, or serve with Daphne (--server daphne)."
        )
    if is_supported(FAST_PATH):
        return LandslideHttp, LandslideWebSocket
    logger.warning("uvicorn_unknown: viewers are served by plain sends")
    return BoundedHttp, BoundedWebSocket
