"""Polls, ballots and viewers' WebSockets for tests of live tallies."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator

from analytics.counting import batches
from config.asgi import application
from polls import drafts, lifecycle
from polls.casting.cast import cast_and_wait
from polls.casting.request import CastRequest
from polls.models import Poll
from polls.votelog import get_log
from polls.voters import identity
from tests.servers import PATIENCE

#: Calls Django code from an async test.
db = sync_to_async


def make_poll(**fields: Any) -> Poll:
    options = {"question": "Which band?", "method": "single", "results_visible": "always"} | fields
    poll = drafts.create_poll(options.pop("choices", ["Ant", "Bee", "Cat"]), **options)
    return lifecycle.open_poll(poll.pk)


def cast(poll: Poll, selection: list[int], cookie: str | None = None) -> str:
    """Cast a ballot through the ballot box. Return the voter's cookie."""
    cookie = cookie or identity.new_cookie()
    body = json.dumps({"selections": selection}).encode()
    answer = cast_and_wait(CastRequest(poll.code, body, "application/json", "testserver", cookie=cookie))
    assert answer.status == 202, answer.body
    return cookie


def cast_with_pass(poll: Poll, selection: list[int], voter_key: bytes) -> str:
    """Cast with a pass, in a poll by account or invite. Return the pass."""
    pass_ = identity.make_pass(poll.identity, poll.pk, poll.voter_secret(), voter_key)
    body = json.dumps({"selections": selection}).encode()
    request = CastRequest(poll.code, body, "application/json", "testserver", pass_=pass_)
    answer = cast_and_wait(request)
    assert answer.status == 202, answer.body
    return pass_


def count() -> None:
    for partition in range(get_log().partitions):
        batches.count_partition(partition)


async def until(true: Callable[[], Any], patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not true():
            await asyncio.sleep(0.01)


class Socket:
    """A viewer's WebSocket to the application in this process."""

    def __init__(self, code: str, headers: list[tuple[bytes, bytes]], query: str = "") -> None:
        self.raw = WebsocketCommunicator(application, f"/ws/polls/{code}/{query}", headers=headers)

    async def tally(
        self, wanted: Callable[[dict[str, Any]], bool] = lambda _: True, patience: float = PATIENCE
    ) -> Any:
        """Return the next tally for which `wanted` is true."""
        async with asyncio.timeout(patience):
            while True:
                message = await self.message()
                if message["type"] == "tally" and wanted(message):
                    return message

    async def message(self, sort: str | None = None) -> Any:
        while True:
            message = json.loads(await self.raw.receive_from(timeout=PATIENCE))
            if sort in (None, message["type"]):
                return message

    async def silent(self, seconds: float) -> bool:
        """Whether only viewer counts arrive within `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            if await self.raw.receive_nothing(timeout=left):
                return True
            if json.loads(await self.raw.receive_from(timeout=PATIENCE))["type"] != "viewers":
                return False
        return True
