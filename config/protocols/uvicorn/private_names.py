"""The private names of uvicorn that our protocol classes use.

uvicorn has no public API for read timeouts, for raw requests or for taking over a connection. Our classes
therefore subclass uvicorn's HTTP protocol and use its private names, which any release may change. If a name
is missing, Daphne serves instead (config/serving/web.py).
"""

import dis
from types import FunctionType

from django.utils.module_loading import import_string

_HTTP = "uvicorn.protocols.http.httptools_impl"

#: Attributes and methods that http_framing.py, read_timeouts.py and connection.py use, by their class.
REQUIRED: dict[str, tuple[str, ...]] = {
    f"{_HTTP}.HttpToolsProtocol": (
        *("app", "client", "config", "connections", "cycle", "flow", "headers", "loop", "parser", "pipeline"),
        *("scheme", "scope", "server_state", "tasks", "transport", "url"),
        *("timeout_keep_alive", "timeout_keep_alive_task", "timeout_keep_alive_handler"),
        *("send_400_response", "shutdown"),
        *("on_message_begin", "on_headers_complete", "on_message_complete", "on_response_complete"),
        *("_start_asgi_task", "_unset_keepalive_if_required"),
    ),
    f"{_HTTP}.RequestResponseCycle": (
        *("chunked_encoding", "disconnected", "message_event", "more_body"),
        *("response_complete", "response_started", "scope", "transport"),
    ),
    "uvicorn.protocols.http.flow_control.FlowControl": ("pause_reading", "read_paused", "resume_reading"),
    "uvicorn.server.ServerState": ("default_headers",),
    "uvicorn.config.Config": ("ws_max_size", "ws_ping_interval"),
}


def is_supported() -> bool:
    """Whether the installed uvicorn has all required names."""
    try:
        return all(set(names) <= _names_of(import_string(path)) for path, names in REQUIRED.items())
    except ImportError:
        return False


def _names_of(base: type) -> set[str]:
    """Return the names of a class's methods, and of the attributes that they set."""
    methods = (value for value in vars(base).values() if isinstance(value, FunctionType))
    steps = (step for method in methods for step in dis.get_instructions(method))
    return {*dir(base), *(step.argval for step in steps if step.opname == "STORE_ATTR")}
