"""Structured logs: one line per event, with the request's id and without secrets."""

import logging
import logging.config
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

from polls.text.plain_text import escaped

REDACTED = "[hidden]"
FORMATS = ("console", "json")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
#: Names of fields that contain a secret or reveal a person's vote.
SECRET_NAME = re.compile(
    r"passw|secret|token|api_?key|authorization|cookie|voter|selection|dsn|credential|signature",
    re.IGNORECASE,
)
#: Secrets inside a text: user:password@ in an address, an Authorization header's value, a cookie's value.
URL_PASSWORD = re.compile(r"(\w+://[^\s/:@]*):[^\s/@]+@")
HEADER_VALUE = re.compile(
    r"((?:Api-Key|Bearer|Basic)\s+)\S+|((?:voter|sessionid|csrftoken)=)[^\s;,]+", re.IGNORECASE
)

Event = MutableMapping[str, Any]


def redact_text(text: str) -> str:
    text = URL_PASSWORD.sub(rf"\1:{REDACTED}@", text)
    return HEADER_VALUE.sub(lambda match: f"{match[1] or match[2]}{REDACTED}", text)


def redact(value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {
            key: REDACTED if SECRET_NAME.search(str(key)) else redact(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def redact_secrets(_logger: Any, _method: str, event: Event) -> Event:
    """Redact secrets.

    This processor runs just before the renderer, so it also sees the message and the traceback.
    """
    for key, value in event.items():
        event[key] = REDACTED if SECRET_NAME.search(key) else redact(value)
    return event


def escape_controls(_logger: Any, _method: str, event: Event) -> Event:
    """Escape control characters for the console, so that user input can't start a line or move the cursor."""
    for key, value in event.items():
        if isinstance(value, str):
            # Keep the line breaks of a traceback.
            lines = value.split("\n") if key in ("exception", "stack") else [value]
            event[key] = "\n".join(escaped(line) for line in lines)
    return event


def drop_objects(_logger: Any, _method: str, event: Event) -> Event:
    """Drop the request object that Django adds to its log records. The request id is enough."""
    event.pop("request", None)
    event.pop("server_time", None)
    return event


class Drop503(logging.Filter):
    """Drop Django's log line for each deliberate 503. Under overload, these lines would add to the load."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != 503 or record.exc_info is not None


class DropClientTracebacks(logging.Filter):
    """Drop the traceback of an error that a client caused, such as a forged Host header."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
        return True


SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    drop_objects,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


LIBRARY_LEVELS = {
    # At WARNING, Django would log a line for each refused ballot. Exceptions in views are still logged: they
    # are errors.
    "django.request": "ERROR",
    "axes": "WARNING",  # at INFO, axes logs four lines for each successful login
    **dict.fromkeys(("django.server", "django.channels.server", "daphne"), "WARNING"),
    **dict.fromkeys(("uvicorn", "uvicorn.error", "uvicorn.access"), "WARNING"),
    **dict.fromkeys(("celery", "kombu", "asyncio"), "WARNING"),
}


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """Return the configuration for dictConfig. Unknown values mean the default; system checks report them."""
    level = level if level in LEVELS else "INFO"
    django_level = "INFO" if level == "DEBUG" else level
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    redact_secrets,
                    *([] if log_format == "json" else [escape_controls]),
                    renderer,
                ],
            },
        },
        "filters": {
            "refusals": {"()": "config.operations.logging.Drop503"},
            "one_line": {"()": "config.operations.logging.DropClientTracebacks"},
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "structured",
                "filters": ["refusals", "one_line"],
            },
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            name: {"level": library_level, "propagate": True, "handlers": []}
            for name, library_level in {"django": django_level, **LIBRARY_LEVELS}.items()
        },
    }


def apply(settings: dict[str, Any]) -> None:
    """Configure logging and structlog. Called by Django (LOGGING_CONFIG) and by our Celery app."""
    logging.config.dictConfig(settings)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
