"""When a process counts as overloaded, and what it then does less often."""

import time
from collections.abc import Iterable
from typing import Any

import pytest

from polls.casting import backpressure
from realtime import overload
from realtime.channels import HEARTBEAT_SECONDS, Channel
from realtime.overload import OFF_AFTER_SECONDS, ON_AFTER_SECONDS, SAMPLE_SECONDS, OverloadDetector


def flags(detector: OverloadDetector, shorts: Iterable[bool], start: float) -> list[bool]:
    """Return the flag after each sample, a quarter of a second apart."""
    flags = []
    for number, short in enumerate(shorts):
        detector.observe(short=short, now=start + number * SAMPLE_SECONDS)
        flags.append(detector.overloaded)
    return flags


ENOUGH = int(ON_AFTER_SECONDS / SAMPLE_SECONDS) + 2
LONG = int(OFF_AFTER_SECONDS / SAMPLE_SECONDS) + 2


def test_one_short_sample_is_no_overload() -> None:
    assert not any(flags(OverloadDetector(), [False] * 8 + [True] + [False] * 8, 100.0))


def test_short_samples_for_a_while_are_an_overload() -> None:
    found = flags(OverloadDetector(), [False] + [True] * ENOUGH, 100.0)
    assert not found[ENOUGH // 2]
    assert found[-1]


def test_one_good_sample_restarts_the_wait() -> None:
    almost = [True] * (ENOUGH - 3) + [False]
    assert not any(flags(OverloadDetector(), [False] + almost * 5, 100.0))


def test_the_overload_ends_after_enough_good_samples() -> None:
    detector = OverloadDetector()
    flags(detector, [False] + [True] * ENOUGH, 100.0)
    found = flags(detector, [False] * LONG, 100.0 + (ENOUGH + 1) * SAMPLE_SECONDS)
    assert found[LONG // 2]
    assert not found[-1]


def test_alternating_samples_do_not_flap() -> None:
    detector = OverloadDetector()
    flags(detector, [False] + [True] * ENOUGH, 100.0)
    assert all(flags(detector, [False, False, False, True] * LONG, 100.0 + (ENOUGH + 1) * SAMPLE_SECONDS))


def test_a_change_is_reported_once() -> None:
    detector = OverloadDetector()
    changes = [detector.observe(short=n > 0, now=100.0 + n * SAMPLE_SECONDS) for n in range(3 * ENOUGH)]
    assert changes.count(True) == 1


def test_refusing_ends_after_the_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    backpressure.record_refusal(1.0)
    assert backpressure.is_refusing()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    assert not backpressure.is_refusing()


def test_during_an_overload_viewer_counts_wait_for_the_heartbeat() -> None:
    channel = Channel(1, "CODE", lambda subscriber: None)
    channel.send_viewer_count(100.0)
    first: Any = channel.viewers
    channel.presence.receive("another", 7, 100.0)
    channel.send_viewer_count(101.0, on_change=False)
    assert channel.viewers is first
    channel.send_viewer_count(101.0)
    assert channel.viewers is not first
    last: Any = channel.viewers
    channel.send_viewer_count(101.0 + HEARTBEAT_SECONDS, on_change=False)
    assert channel.viewers is not last


@pytest.mark.asyncio
async def test_an_overloaded_process_publishes_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """With real samples, a process that refuses ballots becomes overloaded and publishes the mode."""
    published: list[str] = []

    async def in_thread(function: Any, mode: str) -> None:
        published.append(mode)
        raise Done

    class Done(Exception):
        pass

    monkeypatch.setattr(overload, "SAMPLE_SECONDS", 0.01)
    monkeypatch.setattr(overload, "ON_AFTER_SECONDS", 0.02)
    backpressure.record_refusal(60)
    detector = OverloadDetector()
    try:
        with pytest.raises(Done):
            await overload.monitor(detector, in_thread)
    finally:
        backpressure.record_refusal(0)
    assert detector.overloaded
    assert published == ["crowded"]
