"""The private names of uvicorn that our protocol classes use.

uvicorn has no public API for read timeouts, for raw requests or for taking over a connection, so the classes
in this package subclass its protocols. Its private names may change in any release: uvicorn_protocols.py
checks at startup that all of them exist.
"""

from types import FunctionType
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

#: For each class: the attributes that its __init__ sets, and its methods.
Requirements = tuple[tuple[type, set[str], tuple[str, ...]], ...]

#: What uvicorn_limits.py and the modules below it use.
LIMITS: Requirements = (
    (
        WebSocketsSansIOProtocol,
        {"close_sent", "handshake_complete", "handshake_initiated", "read_paused", "transport"},
        ("connection_lost", "data_received", "send"),
    ),
    (
        HttpToolsProtocol,
        {"cycle", "flow", "headers", "loop", "parser", "scope", "transport"},
        (
            *("connection_made", "connection_lost", "data_received", "handle_websocket_upgrade"),
            *("on_message_begin", "on_headers_complete", "on_message_complete"),
            *("on_response_complete", "send_400_response"),
            *("_start_asgi_task", "_unset_keepalive_if_required"),
        ),
    ),
)

#: What uvicorn_http.py and uvicorn_websocket.py use besides LIMITS.
FAST_PATH: Requirements = (
    (
        WebSocketsSansIOProtocol,
        {"config", "conn", "connections", "disconnected", "frames", "loop", "ping_interval", "queue"},
        ("handle_connect", "stop_keepalive"),
    ),
    (
        HttpToolsProtocol,
        {
            *("client", "connections", "pipeline", "scheme"),
            *("server_state", "timeout_keep_alive", "timeout_keep_alive_task"),
        },
        ("shutdown", "timeout_keep_alive_handler"),
    ),
)


def is_supported(requirements: Requirements) -> bool:
    """Return whether the installed uvicorn has all these names."""
    return all(
        names <= _names_in_init(base) and all(hasattr(base, name) for name in methods)
        for base, names, methods in requirements
    )


def _names_in_init(base: type) -> set[str]:
    return set(cast(FunctionType, vars(base)["__init__"]).__code__.co_names)
