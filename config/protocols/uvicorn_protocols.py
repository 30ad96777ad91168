"""The choice of protocol classes for the installed uvicorn.

The fast path lets the application take over a viewer's connection (realtime/handover.py) and answers ballots
from their raw bytes. It uses private names of uvicorn. If one is missing, Landslide serves without the fast
path but with the same limits for clients (uvicorn_limits.py).
"""

import logging
from typing import Any

import uvicorn

from config.protocols.uvicorn_http import LandslideHttp
from config.protocols.uvicorn_internals import FAST_PATH, LIMITS, is_supported
from config.protocols.uvicorn_limits import BoundedHttp, BoundedWebSocket
from config.protocols.uvicorn_websocket import LandslideWebSocket

logger = logging.getLogger(__name__)


def protocol_classes() -> tuple[Any, Any]:
    """Return the classes for uvicorn's `http=` and `ws=`: with the fast path if this uvicorn supports it."""
    if not is_supported(LIMITS):
        raise SystemExit(
            f"Landslide can't protect uvicorn {uvicorn.__version__} from slow clients."
            " Install the version in requirements.txt, or serve with Daphne (--server daphne)."
        )
    if is_supported(FAST_PATH):
        return LandslideHttp, LandslideWebSocket
    logger.warning("uvicorn_unknown: serving without the fast path")
    return BoundedHttp, BoundedWebSocket
