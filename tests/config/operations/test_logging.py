"""Logs are structured, contain the request id and no secrets."""

import io
import json
import logging

import pytest
import structlog

from config.operations.logging import DropClientTracebacks, logging_config

SECRET = "hunter2"


@pytest.fixture
def written(monkeypatch):
    """Yield a logger, and a function that returns its lines as parsed JSON."""
    stream = io.StringIO()
    formatter = logging_config("json", "INFO")["formatters"]["structured"]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=formatter["foreign_pre_chain"], processors=formatter["processors"]
        )
    )
    logger = logging.getLogger("landslide.test")
    logger.propagate = False
    logger.setLevel("INFO")
    logger.addHandler(handler)
    yield logger, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.propagate = True


def test_line_has_time_level_logger_and_extras(written):
    logger, lines = written
    logger.warning("counted %s", 3, extra={"partition": 2})
    [line] = lines()
    assert line["event"] == "counted 3"
    assert line["partition"] == 2
    assert line["level"] == "warning"
    assert line["logger"] == "landslide.test"
    assert line["timestamp"].endswith("Z")


def test_console_escapes_control_characters():
    processors = logging_config("console", "INFO")["formatters"]["structured"]["processors"]
    formatter = structlog.stdlib.ProcessorFormatter(processors=processors)
    record = logging.LogRecord("landslide.test", logging.WARNING, "", 1, "a\nb \x1b[2J\u202e", (), None)
    try:
        raise ValueError("c\x1b[2J")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    first, *traceback = formatter.format(record).split("\n")
    assert r"a\nb \x1b[2J\u202e" in first
    assert traceback[-1] == r"ValueError: c\x1b[2J"


def test_each_line_of_a_request_has_its_request_id(written):
    logger, lines = written
    with structlog.contextvars.bound_contextvars(request_id="abc123"):
        logger.info("inside")
    logger.info("outside")
    assert [line.get("request_id") for line in lines()] == ["abc123", None]


@pytest.mark.parametrize(
    "text",
    [
        f"redis://:{SECRET}@host:6379 is away",
        f"postgres://user:{SECRET}@host/name",
        f"Authorization: Api-Key {SECRET}",
        f"Cookie: voter={SECRET}; theme=dark",
        f"sessionid={SECRET}",
    ],
)
def test_secrets_inside_texts_are_redacted(written, text):
    logger, lines = written
    logger.error("it said: %s", text)
    logger.error("%s", {"nested": [text]})
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("failed")
    assert len(lines()) == 3
    assert SECRET not in json.dumps(lines())


@pytest.mark.parametrize("name", ["password", "api_key", "voter_key", "SECRET_KEY", "cookie", "selections"])
def test_fields_named_like_secrets_are_redacted(written, name):
    logger, lines = written
    logger.info("event", extra={name: SECRET, "kept": {"also": 1, name: SECRET}})
    assert SECRET not in json.dumps(lines())
    assert lines()[0]["kept"]["also"] == 1


def test_request_object_is_not_logged(written):
    logger, lines = written
    logger.warning("Not Found", extra={"request": object(), "status_code": 404})
    assert lines()[0]["status_code"] == 404
    assert "request" not in lines()[0]


@pytest.mark.parametrize(
    ("logger", "traceback"), [("django.security.DisallowedHost", False), ("polls", True)]
)
def test_client_errors_are_logged_without_traceback(logger, traceback):
    try:
        raise ValueError("on purpose")
    except ValueError as error:
        record = logging.LogRecord(logger, logging.ERROR, "", 1, "wrong", (), (ValueError, error, None))
    assert DropClientTracebacks().filter(record)
    assert bool(record.exc_info) is traceback
    assert "one_line" in logging_config("json", "INFO")["handlers"]["stderr"]["filters"]


def test_unknown_level_falls_back_to_info():
    assert logging_config("json", "LOUD")["root"]["level"] == "INFO"
