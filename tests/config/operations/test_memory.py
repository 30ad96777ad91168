"""Clients can't fill the memory with long headers: caches are limited in bytes, not only in entries."""

import gc
import logging
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from config.asgi import http
from polls.http.client_address import client_address
from polls.models import Poll
from realtime import hub as hub_module
from tests.realtime.asgi_client import ask, http_scope
from tests.realtime.viewers import db, make_poll

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True), pytest.mark.full_only]

LONG, MANY = 60_000, 25
HEADERS = [
    "x-forwarded-for",
    "accept",
    "accept-language",
    "origin",
    "cookie",
    "if-none-match",
    "host",
    "x-request-id",
]


@pytest.fixture
async def poll(settings: Any) -> Any:
    settings.ALLOWED_HOSTS = ["*"]
    settings.TRUSTED_PROXIES = ["192.0.2.0/24"]
    yield await db(make_poll)()
    await hub_module.get_hub().stop()


@pytest.fixture
def growth() -> Iterator[Any]:
    logging.disable(logging.CRITICAL)  # pytest would keep the log records
    tracemalloc.start()

    def grown() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    yield grown
    tracemalloc.stop()
    logging.disable(logging.NOTSET)


def doors(poll: Poll) -> list[tuple[str, str]]:
    at = f"/api/v1/polls/{poll.code}"
    return [
        ("POST", f"{at}/ballots/"),
        ("GET", f"{at}/tally/"),
        ("GET", f"{at}/voter/"),
        ("GET", f"/p/{poll.code}/"),
        ("GET", "/api/v1/polls/NOSUCH/stream/"),
    ]


async def send(poll: Poll, name: str, number: int) -> None:
    value = f"{number:06}".encode() * (LONG // 6)
    given = {b"host": b"testserver", b"content-type": b"application/json", name.encode(): value}
    for method, path in doors(poll):
        await ask(http, http_scope(method, path, list(given.items())), b'{"selections": [1]}')


@pytest.mark.parametrize("name", HEADERS)
async def test_request_headers_are_not_kept_in_memory(poll: Poll, growth: Any, name: str) -> None:
    for number in range(3):  # so that allocations which happen only once aren't measured
        await send(poll, name, number)
    before = growth()
    for number in range(3, 3 + MANY):
        await send(poll, name, number)
    assert growth() - before < MANY * LONG / 4


async def test_unknown_poll_codes_are_not_kept_in_memory(poll: Poll, growth: Any) -> None:
    async def look(number: int) -> None:
        code = f"{number:06}" * (LONG // 6)
        for path in (f"/api/v1/polls/{code}/stream/", f"/api/v1/polls/{code}/tally/", f"/p/{code}/"):
            await ask(http, http_scope("GET", path, [(b"host", b"testserver")]))

    await look(0)
    before = growth()
    for number in range(1, 1 + MANY):
        await look(number)
    assert growth() - before < MANY * LONG / 4


async def test_forwarded_addresses_are_not_kept_in_memory(settings: Any, growth: Any) -> None:
    """client_address() is called for casts of each lane, from trusted proxies and from unknown clients."""
    settings.TRUSTED_PROXIES = ["192.0.2.1"]
    client_address("192.0.2.1", "198.51.100.1")
    before = growth()
    for number in range(200):
        for peer in ("192.0.2.1", "203.0.113.7"):
            client_address(peer, f"{number}," * (LONG // 4))
            client_address(peer, f"{number}" * (LONG // 3))
    assert growth() - before < 5 * LONG
