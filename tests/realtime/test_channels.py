"""What a room owes its viewers, with lines that are held up when the test says so."""

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.results.visibility import Viewer
from realtime import channels
from realtime.channels import Room, Seat
from realtime.protocol import Frames, Message

HAPPENINGS = ["vote", "move", "reset", "come", "hold", "drain"]


class Line:
    """Takes `room_for` messages, then is held up until it is drained."""

    def __init__(self, seat: Seat, room_for: float = float("inf")) -> None:
        self.seat = seat
        self.room_for = room_for
        self.writing_paused = False
        self.got: list[Any] = []
        self.ended = ""

    def send(self, message: Message) -> None:
        assert not self.writing_paused, "sent to a line that takes nothing"
        self.got.append(json.loads(message.text))
        self.room_for -= 1
        if self.room_for <= 0:
            self.writing_paused = True
            self.seat.on_writing_paused()

    def drain(self, room_for: float = float("inf")) -> None:
        self.room_for, self.writing_paused = room_for, False
        self.seat.on_writing_resumed()

    def close(self, code: int) -> None:
        self.ended = f"close {code}"
        self.seat.on_closed()

    def abort(self) -> None:
        self.ended = "abort"
        self.seat.on_closed()

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
def room() -> Room:
    room = Room(1, "SPRING", lambda seat: None)
    room.show(frames(0))
    return room


def viewer(room: Room, room_for: float = float("inf"), kind: Viewer = Viewer.STAFF) -> Line:
    seat = Seat(room)
    seat.kind = kind
    line = Line(seat, room_for)
    room.admit(seat, line)
    return line


async def delivered(room: Room) -> None:
    while room._delivering:
        await room._delivering


async def test_a_line_that_was_held_up_gets_the_newest_and_nothing_in_between(
    room: Room,
) -> None:
    healthy, slow = viewer(room), viewer(room, room_for=3)
    for ballots in range(1, 6):
        room.show(frames(ballots))
        await delivered(room)
    assert healthy.ballots == [0, 1, 2, 3, 4, 5]
    assert slow.ballots == [0, 1]
    slow.drain()
    assert slow.ballots == [0, 1, 5]
    assert not room.held


async def test_what_is_held_up_in_the_middle_goes_on_where_it_was(room: Room) -> None:
    line = viewer(room, room_for=3)
    room.show(frames(1, state="closing"))
    await delivered(room)
    assert line.got[-1] == {"type": "state", "state": "closing"}
    line.drain(room_for=1)
    assert line.ballots == [0, 1]


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(["vote", "move", "reset", "come", "hold", "drain"]), st.integers(0, 9))
    )
)
def test_whatever_lines_skip_each_ends_at_the_newest_and_never_runs_back(happenings: Any) -> None:
    """Old snapshot and messages make the fresh snapshot, however long and wherever a line was held up."""

    async def live() -> None:
        room = Room(1, "SPRING", lambda seat: None)
        ballots, state, round_ = 0, 0, 1
        room.show(frames(0))
        lines = [viewer(room), viewer(room, kind=Viewer.PUBLIC)]
        for what, number in happenings:
            line = lines[number % len(lines)]
            if what == "come":
                lines.append(viewer(room, room_for=2 + number))
            elif what == "hold":
                line.room_for = 1
            elif what == "drain" and line.writing_paused:
                line.drain(room_for=1 + number)
            elif what in ("vote", "move", "reset"):
                ballots = 0 if what == "reset" else ballots + (what == "vote")
                state, round_ = state + (what != "vote"), round_ + (what == "reset")
                room.show(frames(ballots, state=str(state), round=round_))
                await delivered(room) if number % 2 else None
        await delivered(room)
        for line in lines:
            line.drain() if line.writing_paused else None
            assert line.tallies[-1] == (round_, -round_ if line.seat.kind is Viewer.PUBLIC else ballots)
            shown = [(at, abs(count)) for at, count in line.tallies]
            assert shown == sorted(shown)
            states = [int(message["state"]) for message in line.got if message["type"] == "state"]
            assert states == sorted(states)
            assert not states or states[-1] == state

    asyncio.run(live())


async def test_what_has_not_changed_is_not_sent_again(room: Room) -> None:
    public, staff = viewer(room, kind=Viewer.PUBLIC), viewer(room)
    for ballots in range(1, 4):
        room.show(frames(ballots))
        await delivered(room)
    assert (public.ballots, staff.ballots) == ([-1], [0, 1, 2, 3])


async def test_who_voted_in_the_last_round_has_not_voted_in_this_one(room: Room) -> None:
    voter = viewer(room, kind=Viewer.VOTED)
    room.show(frames(3))
    await delivered(room)
    room.show(frames(0, round=2))
    await delivered(room)
    assert voter.ballots == [0, 3, -2]


async def test_a_delivery_lets_others_have_a_turn_and_takes_newer_tallies_along(room: Room) -> None:
    lines = [viewer(room) for _ in range(10 * channels.STRETCH)]
    turns = 0
    room.show(frames(1))
    while room._delivering:
        turns += 1
        if turns == 3:
            room.show(frames(2))
        await asyncio.sleep(0)
    assert turns > 10
    assert {tuple(line.ballots) for line in lines} == {(0, 1, 2), (0, 2)}


async def test_who_takes_nothing_for_long_is_let_go_and_others_are_not(room: Room) -> None:
    healthy, slow, stalled = viewer(room), viewer(room, room_for=2), viewer(room, room_for=2)
    slow.drain(room_for=1)
    now = time.monotonic()
    room.end_stalled(now)
    room.held[stalled.seat] -= channels.STALLED_SECONDS
    room.end_stalled(now)
    assert [line.ended for line in (healthy, slow, stalled)] == ["", "", "abort"]
    assert room.seats == {healthy.seat, slow.seat}
    assert stalled.seat not in room.held


async def test_a_poll_that_is_no_more_says_so(room: Room) -> None:
    lines = [viewer(room) for _ in range(3)]
    room.dissolve()
    assert [line.ended for line in lines] == ["close 4404"] * 3
    assert not room.seats
