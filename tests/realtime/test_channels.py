"""Channels and subscribers, with fake connections that pause when the test says so."""

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.results.visibility import Viewer
from realtime import channels
from realtime.channels import Channel, Subscriber
from realtime.protocol import Frames, Message

EVENTS = ["vote", "move", "reset", "join", "pause", "drain"]


class FakeConnection:
    """A connection that takes `capacity` messages, then pauses until it is drained."""

    def __init__(self, subscriber: Subscriber, capacity: float = float("inf")) -> None:
        self.subscriber = subscriber
        self.capacity = capacity
        self.writing_paused = False
        self.got: list[Any] = []
        self.ended = ""

    def send(self, message: Message) -> None:
        assert not self.writing_paused, "sent to a paused connection"
        self.got.append(json.loads(message.text))
        self.capacity -= 1
        if self.capacity <= 0:
            self.writing_paused = True
            self.subscriber.on_writing_paused()

    def drain(self, capacity: float = float("inf")) -> None:
        self.capacity, self.writing_paused = capacity, False
        self.subscriber.on_writing_resumed()

    def close(self, code: int) -> None:
        self.ended = f"close {code}"
        self.subscriber.on_closed()

    def abort(self) -> None:
        self.ended = "abort"
        self.subscriber.on_closed()

    @property
    def tallies(self) -> list[tuple[int, int]]:
        return [(message["round"], message["ballots"]) for message in self.got if message["type"] == "tally"]

    @property
    def ballots(self) -> list[int]:
        return [message["ballots"] for message in self.got if message["type"] == "tally"]


def frames(ballots: int, state: str = "open", round: int = 1) -> Frames:
    shown = Message({"type": "tally", "round": round, "ballots": ballots})
    hidden = Message({"type": "tally", "round": round, "ballots": -round})
    tally = {Viewer.PUBLIC: hidden, Viewer.VOTED: shown, Viewer.STAFF: shown}
    return Frames((round, 1, ballots), round, "after_vote", Message({"type": "state", "state": state}), tally)


@pytest.fixture
def channel() -> Channel:
    channel = Channel(1, "SPRING", lambda subscriber: None)
    channel.update(frames(0))
    return channel


def viewer(channel: Channel, capacity: float = float("inf"), kind: Viewer = Viewer.STAFF) -> FakeConnection:
    subscriber = Subscriber(channel)
    subscriber.kind = kind
    connection = FakeConnection(subscriber, capacity)
    channel.subscribe(subscriber, connection)
    return connection


async def delivered(channel: Channel) -> None:
    while channel._delivery_task:
        await channel._delivery_task


async def test_a_resumed_connection_gets_only_the_newest_tally(channel: Channel) -> None:
    healthy, slow = viewer(channel), viewer(channel, capacity=3)
    for ballots in range(1, 6):
        channel.update(frames(ballots))
        await delivered(channel)
    assert healthy.ballots == [0, 1, 2, 3, 4, 5]
    assert slow.ballots == [0, 1]
    slow.drain()
    assert slow.ballots == [0, 1, 5]
    assert not channel.paused


async def test_a_connection_paused_during_a_delivery_gets_the_rest_later(channel: Channel) -> None:
    connection = viewer(channel, capacity=3)
    channel.update(frames(1, state="closing"))
    await delivered(channel)
    assert connection.got[-1] == {"type": "state", "state": "closing"}
    connection.drain(capacity=1)
    assert connection.ballots == [0, 1]


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 9))))
def test_every_connection_ends_at_the_newest_tally_and_never_goes_back(events: Any) -> None:
    """A snapshot and the messages after it lead to the newest snapshot, wherever a connection paused."""

    async def live() -> None:
        channel = Channel(1, "SPRING", lambda subscriber: None)
        ballots, state, round_ = 0, 0, 1
        channel.update(frames(0))
        connections = [viewer(channel), viewer(channel, kind=Viewer.PUBLIC)]
        for event, number in events:
            connection = connections[number % len(connections)]
            if event == "join":
                connections.append(viewer(channel, capacity=2 + number))
            elif event == "pause":
                connection.capacity = 1
            elif event == "drain" and connection.writing_paused:
                connection.drain(capacity=1 + number)
            elif event in ("vote", "move", "reset"):
                ballots = 0 if event == "reset" else ballots + (event == "vote")
                state, round_ = state + (event != "vote"), round_ + (event == "reset")
                channel.update(frames(ballots, state=str(state), round=round_))
                await delivered(channel) if number % 2 else None
        await delivered(channel)
        for connection in connections:
            connection.drain() if connection.writing_paused else None
            assert connection.tallies[-1] == (
                round_,
                -round_ if connection.subscriber.kind is Viewer.PUBLIC else ballots,
            )
            shown = [(at, abs(count)) for at, count in connection.tallies]
            assert shown == sorted(shown)
            states = [int(message["state"]) for message in connection.got if message["type"] == "state"]
            assert states == sorted(states)
            assert not states or states[-1] == state

    asyncio.run(live())


async def test_an_unchanged_tally_is_not_sent_again(channel: Channel) -> None:
    public, staff = viewer(channel, kind=Viewer.PUBLIC), viewer(channel)
    for ballots in range(1, 4):
        channel.update(frames(ballots))
        await delivered(channel)
    assert (public.ballots, staff.ballots) == ([-1], [0, 1, 2, 3])


async def test_a_new_round_hides_the_tally_from_voters_of_the_last(channel: Channel) -> None:
    voter = viewer(channel, kind=Viewer.VOTED)
    channel.update(frames(3))
    await delivered(channel)
    channel.update(frames(0, round=2))
    await delivered(channel)
    assert voter.ballots == [0, 3, -2]


async def test_a_delivery_yields_to_other_tasks_and_picks_up_newer_tallies(channel: Channel) -> None:
    connections = [viewer(channel) for _ in range(10 * channels.BATCH_SIZE)]
    turns = 0
    channel.update(frames(1))
    while channel._delivery_task:
        turns += 1
        if turns == 3:
            channel.update(frames(2))
        await asyncio.sleep(0)
    assert turns > 10
    assert {tuple(connection.ballots) for connection in connections} == {(0, 1, 2), (0, 2)}


async def test_only_stalled_connections_are_aborted(channel: Channel) -> None:
    healthy, slow, stalled = viewer(channel), viewer(channel, capacity=2), viewer(channel, capacity=2)
    slow.drain(capacity=1)
    now = time.monotonic()
    channel.abort_stalled(now)
    channel.paused[stalled.subscriber] -= channels.STALLED_SECONDS
    channel.abort_stalled(now)
    assert [connection.ended for connection in (healthy, slow, stalled)] == ["", "", "abort"]
    assert channel.subscribers == {healthy.subscriber, slow.subscriber}
    assert stalled.subscriber not in channel.paused


async def test_close_all_closes_every_connection(channel: Channel) -> None:
    connections = [viewer(channel) for _ in range(3)]
    channel.close_all()
    assert [connection.ended for connection in connections] == ["close 4404"] * 3
    assert not channel.subscribers
