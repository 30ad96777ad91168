"""Structured logs: one line an event, with the request's id, and never a secret."""

from __future__ import annotations

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
#: Whatever is named so is a secret, or says who voted what.
SECRET_NAME = re.compile(
    r"passw|secret|token|api_?key|authorization|cookie|voter|selection|dsn|credential|signature",
    re.IGNORECASE,
)
#: user:password@ in an address, and the value of an Authorization header or a cookie, inside a text.
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
    """Last before the renderer, so that it sees the message, its arguments and the traceback too."""
    for key, value in event.items():
        event[key] = REDACTED if SECRET_NAME.search(key) else redact(value)
    return event


def escape_controls(_logger: Any, _method: str, event: Event) -> Event:
    """For the console: what somebody wrote neither begins a line of its own nor moves the cursor."""
    for key, value in event.items():
        if isinstance(value, str):
            # A traceback has lines of its own, each of them escaped.
            lines = value.split("\n") if key in ("exception", "stack") else [value]
            event[key] = "\n".join(escaped(line) for line in lines)
    return event


def drop_objects(_logger: Any, _method: str, event: Event) -> Event:
    """Django puts the whole request into its records; its id says the same in one word."""
    event.pop("request", None)
    event.pop("server_time", None)
    return event


class Drop503(logging.Filter):
    """Drops Django's line for each 503 that we answer on purpose, which in an overload adds to it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != 503 or record.exc_info is not None


class DropClientTracebacks(logging.Filter):
    """Tells in a line, without a traceback of ours, what a client sent that no honest one would."""

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


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """For logging.config.dictConfig: everybody's records, ours and the libraries', in one form.

    An unknown format or level is taken for the default here; the system checks say what is wrong with it.
    """
    level = level if level in LEVELS else "INFO"
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
            name: {"level": quiet, "propagate": True, "handlers": []}
            for name, quiet in {
                "django": "INFO" if level == "DEBUG" else level,
                # Not a line for each refused ballot; a view that fails is an error, with its traceback.
                "django.request": "ERROR",
                "django.server": "WARNING",
                "django.channels.server": "WARNING",
                "daphne": "WARNING",
                "uvicorn": "WARNING",
                "uvicorn.error": "WARNING",
                "uvicorn.access": "WARNING",
                "celery": "WARNING",
                "kombu": "WARNING",
                "asyncio": "WARNING",
                "axes": "WARNING",  # four lines for each log-in that went well
            }.items()
        },
    }


def apply(settings: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG, and Celery's setup_logging: the standard library's, then structlog's."""
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
