"""The hint receiver ends when it is cancelled, even if the channel layer swallows the cancellation."""

import asyncio
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from realtime.hint_receiver import HintReceiver
from tests.servers import PATIENCE


class SwallowsCancellation(InMemoryChannelLayer):
    """A layer whose call `name` returns normally although its task is cancelled, as a Redis call may."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.called = asyncio.Event()

    async def new_channel(self, prefix: str = "specific") -> str:
        if self.name == "new_channel":
            await self.swallow()
        channel: str = await super().new_channel(prefix)
        return channel

    async def receive(self, channel: str) -> Any:
        if self.name == "receive" and not self.called.is_set():
            await self.swallow()
            return {"type": "poll.changed", "poll": 1}
        return await super().receive(channel)

    async def swallow(self) -> None:
        self.called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return


@pytest.mark.parametrize("name", ["new_channel", "receive"])
async def test_a_swallowed_cancellation_still_ends_the_receiver(name: str) -> None:
    receiver = HintReceiver()
    layer = receiver._layer = SwallowsCancellation(name)
    task = asyncio.create_task(receiver.run(lambda hint: None, lambda: None))
    await layer.called.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    assert done == {task}
