"""The time budget and rate limit of viewers' input, on a fake clock."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from config.protocols import throttle
from config.protocols.throttle import (
    ALLOWED_BYTES,
    BURST_SECONDS,
    READ_BYTES,
    SHARE,
    SLICE_BYTES,
    InputBuffer,
    Throttle,
)


class Clock:
    """A fake clock and event loop, whose time advances only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.soon: list[Callable[[], None]] = []

    def perf_counter(self) -> float:
        return self.now

    monotonic = perf_counter

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        self.timers.append((self.now + seconds, callback))
        return self.timers[-1]

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def run(self) -> None:
        """Run all callbacks and timers, advancing the clock."""
        while self.timers or self.soon:
            while self.soon:
                self.soon.pop(0)()
            if not self.timers:
                return
            assert len(self.timers) == 1
            at, callback = self.timers.pop()
            self.now = max(self.now, at)
            callback()


class Viewer:
    """A connection whose input takes 1 ms per slice to process."""

    def __init__(self, clock: Clock, order: list[str], name: str) -> None:
        self.clock, self.order, self.name = clock, order, name
        self.heard, self.reading, self.let_go, self.cut = b"", True, 0, False
        self.input_buffer = InputBuffer(self)

    def process_input(self, data: bytes) -> None:
        assert len(data) <= SLICE_BYTES
        self.clock.now += 0.001
        self.heard += data
        self.order.append(self.name)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def on_limit_exceeded(self) -> None:
        self.let_go += 1

    def abort(self) -> None:
        self.cut = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttle, "time", clock)
    shared = Throttle(clock)  # type: ignore[arg-type]
    monkeypatch.setattr(throttle, "shared_throttle", lambda: shared)
    return clock


def test_short_message_is_processed_at_once(clock: Clock) -> None:
    viewer = Viewer(clock, [], "a")
    viewer.input_buffer.add(b"word")
    assert (viewer.heard, viewer.reading, clock.timers) == (b"word", True, [])


def test_all_viewers_share_one_time_budget(clock: Clock) -> None:
    order: list[str] = []
    viewers = [Viewer(clock, order, str(number)) for number in range(50)]
    sent = b"x" * SLICE_BYTES * 8
    began = clock.now
    for viewer in viewers:
        viewer.input_buffer.add(sent)
    # The budget is refilled while the burst is spent.
    assert len(order) <= BURST_SECONDS / 0.001 / (1 - SHARE) + 1
    assert sum(viewer.reading for viewer in viewers) <= 1  # the burst was enough for at most one of them
    clock.run()
    assert all(viewer.heard == sent and viewer.reading for viewer in viewers)
    work = len(order) * 0.001
    assert clock.now - began >= (work - BURST_SECONDS) / SHARE - 0.1


def test_short_message_waits_at_most_one_round(clock: Clock) -> None:
    order: list[str] = []
    floods = [Viewer(clock, order, "flood") for _ in range(20)]
    for flood in floods:
        flood.input_buffer.add(b"x" * SLICE_BYTES * 20)
    honest = Viewer(clock, order, "honest")
    before = len(order)
    honest.input_buffer.add(b"word")
    clock.run()
    assert order.index("honest") - before <= len(floods)


def test_debt_of_a_slow_slice_is_bounded(clock: Clock) -> None:
    """A slice may be slow only because the machine is busy, so it must not block other viewers for long."""
    slow, next_one = Viewer(clock, [], "slow"), Viewer(clock, [], "next")
    slow.process_input = lambda data: setattr(clock, "now", clock.now + 60)  # type: ignore[method-assign]
    slow.input_buffer.add(b"word")
    now = clock.now
    next_one.input_buffer.add(b"word")
    clock.run()
    assert next_one.heard == b"word"
    assert clock.now - now < 1


@pytest.mark.parametrize("size", [1, READ_BYTES, 1000, ALLOWED_BYTES])
def test_rate_limit_closes_the_connection_once(clock: Clock, size: int) -> None:
    viewer = Viewer(clock, [], "a")
    for _ in range(ALLOWED_BYTES // max(size, READ_BYTES)):
        viewer.input_buffer.add(b"x" * size)
    assert not viewer.let_go
    clock.run()
    viewer.reading = False  # a closed connection isn't read
    for _ in range(10):
        viewer.input_buffer.add(b"x" * size)
    clock.run()
    assert (viewer.let_go, viewer.reading) == (1, False)


def test_rate_limit_resets_after_its_window(clock: Clock) -> None:
    viewer = Viewer(clock, [], "a")
    for _ in range(20):
        viewer.input_buffer.add(b"x" * ALLOWED_BYTES)
        clock.run()
        clock.now += throttle.WINDOW_SECONDS
    assert not viewer.let_go


def test_unprocessed_input_is_dropped_with_its_connection(clock: Clock) -> None:
    viewer = Viewer(clock, [], "a")
    viewer.input_buffer.add(b"x" * ALLOWED_BYTES)
    heard = viewer.heard
    viewer.input_buffer.clear()
    clock.run()
    assert viewer.heard == heard


@pytest.mark.parametrize("broken", ["process_input", "resume_reading"])
def test_error_aborts_only_its_own_connection(
    clock: Clock, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []
    viewers = [Viewer(clock, order, str(number)) for number in range(40)]
    sent = b"x" * SLICE_BYTES * 3
    bad = viewers[10]
    setattr(bad, broken, Mock(side_effect=RuntimeError("broken")))
    for viewer in viewers:
        viewer.input_buffer.add(sent)
    clock.run()
    assert [viewer for viewer in viewers if viewer.cut] == [bad]
    assert all(viewer.heard == sent and viewer.reading for viewer in viewers if viewer is not bad)
    assert [record.getMessage() for record in caplog.records] == ["viewer_failed: its connection is closed"]
    bad.input_buffer.add(b"more")
    clock.run()
    assert len(caplog.records) == 1


def test_error_does_not_reach_the_next_connection(clock: Clock) -> None:
    bad, next_one = Viewer(clock, [], "bad"), Viewer(clock, [], "next")
    bad.process_input = Mock(side_effect=RuntimeError("broken"))  # type: ignore[method-assign]
    bad.input_buffer.add(b"word")
    next_one.input_buffer.add(b"word")
    clock.run()
    assert (next_one.heard, bad.cut, next_one.cut) == (b"word", True, False)
