"""Log entries that can't be counted: a few among valid ones, and all entries of one poll."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import msgspec

from tests.faults.experiment import Fault, Scene
from tests.faults.fault_injection import FaultInjectionHarness
from tests.faults.harness import Harness, head_of
from tests.servers import wait_for

#: Add an entry and move the position atomically, like landslide.lua. KEYS: log, head. ARGV: the number of
#: ballots, then the entry's fields.
_ADD = """
local position = redis.call('HGET', KEYS[2], 'position') + ARGV[1]
redis.call('XADD', KEYS[1], string.format('%.0f-0', position), unpack(ARGV, 2))
redis.call('HSET', KEYS[2], 'position', string.format('%.0f', position))
return position
"""
UNKNOWN_POLL = 1_000_000


def _fields(poll_id: int, **changes: Any) -> dict[str, Any]:
    """Return a ballot's fields as polls.votelog.redis.log writes them, with `changes`."""
    voter, ballot_id = uuid.uuid4().bytes, uuid.uuid4().bytes
    selections = msgspec.msgpack.encode(["1"])
    fields: dict[str, Any] = {
        "p": poll_id,
        "r": 1,
        "t": 1_700_000_000_000,
        "n": 1,
        "v": voter,
        "b": ballot_id,
    }
    return fields | {"i": b"\0\1", "s": selections, "x": b""} | changes


def poisons(poll_id: int) -> dict[str, dict[str, Any]]:
    """Return entries that can't be counted, by the reason that their dead letters must have.

    Trailing spaces only make the keys different.
    """
    return {
        "invalid_selection": _fields(poll_id, s=msgspec.msgpack.encode(["99"])),
        "unknown_round": _fields(UNKNOWN_POLL),
        "unreadable": _fields(poll_id, s=b"\xc1\xff rubbish"),
        "unreadable ": _fields(poll_id, i=b"\x99\x99"),
        "unreadable  ": _fields(poll_id, v=b"short"),
        "unreadable   ": _fields(poll_id, x=b"neither nor"),
    }


def _add(harness: Harness, partition: int, fields: dict[str, Any]) -> None:
    keys = (head_of(partition).replace(":head", ":log"), head_of(partition))
    flat = [part for pair in fields.items() for part in pair]
    with harness.redis.client() as redis:
        redis.eval(_ADD, 2, *keys, 1, *flat)


def _id_of(harness: Harness, code: str) -> int:
    with harness.connect() as database:
        row = database.execute("SELECT id FROM polls_poll WHERE code = %s", (code,)).fetchone()
    assert row
    return int(row[0])


def _letters(harness: Harness, reason: str) -> int:
    with harness.connect() as database:
        query = "SELECT COUNT(*) FROM polls_deadletter WHERE reason = %s"
        row = database.execute(query, (reason,)).fetchone()
    assert row
    return int(row[0])


def one_in_a_hundred(scene: Scene) -> None:
    wanted = poisons(_id_of(scene.harness, scene.code))
    before = {reason.strip(): _letters(scene.harness, reason.strip()) for reason in wanted}
    due = dict(before)
    for number, (reason, fields) in enumerate(wanted.items()):
        scene.wait_for_acknowledgements(100)
        _add(scene.harness, number % 2, fields)
        due[reason.strip()] += 1
    scene.struck(len(wanted))
    for reason, count in due.items():
        with contextlib.suppress(TimeoutError):
            wait_for(lambda r=reason, c=count: _letters(scene.harness, r) >= c, scene.patience)  # type: ignore[misc]
        found = _letters(scene.harness, reason) - before[reason]
        scene.expect(
            found == count - before[reason],
            "letters",
            f"{found} dead letters with the reason {reason}, for {count - before[reason]} entries",
        )
    scene.wait_current("with poison in the log")


def all_of_one_poll(scene: Scene) -> None:
    """Poison all entries of one poll: most must be held, not become dead letters. Other polls go on."""
    harness = scene.harness
    code = harness.make_poll(3)
    harness.step(code, "open")
    poll_id, before = _id_of(harness, code), _letters(harness, "invalid_selection")
    # Each worker knows only the failures that it has seen itself, so some ballots become dead letters first.
    ballots = 120
    for number in range(ballots):
        _add(harness, number % 2, _fields(poll_id, s=msgspec.msgpack.encode(["99"])))
    scene.struck(ballots)
    scene.wait_current("while another poll is poisoned")
    with contextlib.suppress(TimeoutError):
        wait_for(
            lambda: _held(harness, poll_id) + _letters(harness, "invalid_selection") - before >= ballots,
            scene.patience,
        )
    letters = _letters(harness, "invalid_selection") - before
    held = _held(harness, poll_id)
    scene.expect(
        held + letters == ballots and held >= ballots // 2,
        "halted",
        f"of {ballots} invalid ballots {held} are held and {letters} are dead letters",
    )
    ready, metrics = harness.http.get("/readyz").text, harness.http.get("/metrics").text
    scene.remark(f"{held} held, {letters} dead letters; alarm in {_where('halt', ready, metrics)}")
    harness.system.run_manage("resume_counting", code, "--dead-letters", check=False)
    letters = _letters(harness, "invalid_selection") - before
    scene.expect(letters == ballots, "letters", f"{letters} dead letters for {ballots} ballots in the end")


def _where(word: str, ready: str, metrics: str) -> str:
    return (
        " and ".join(n for n, text in (("/readyz", ready), ("/metrics", metrics)) if word in text)
        or "neither"
    )


def _held(harness: Harness, poll_id: int) -> int:
    with harness.connect() as database:
        query = "SELECT COALESCE(SUM(ballots), 0) FROM analytics_heldblock WHERE poll_id = %s"
        row = database.execute(query, (poll_id,)).fetchone()
    assert row
    return int(row[0])


INJECTION = {"kind": FaultInjectionHarness}
ROWS = [
    Fault(
        *(
            "poison entries, 1 in 100",
            "vote log",
            "they become dead letters with reasons, and no other ballot waits",
        ),
        one_in_a_hundred,
        broken=("stops_at_invalid_entries",),
        found_by="current",
        times=3,
        harness=INJECTION,
        damages=True,
    ),
    Fault(
        *("poison entries, all of one poll", "vote log", "counting halts for that poll; others continue"),
        all_of_one_poll,
        broken=("never_halts",),
        found_by="halted",
        times=3,
        harness=INJECTION,
    ),
]
