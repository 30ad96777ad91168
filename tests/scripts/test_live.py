"""static/js/live: the server's time, and the wait before a retry."""

from typing import Any

import pytest

from tests.scripts.running import Run

pytestmark = pytest.mark.full_only

LEARN = """({ learnTime, now, isUncertain }, { ahead, age, jump }) => {
    const realDate = Date.now;
    let device = 1_800_000_000_000;
    Date.now = () => device;
    performance.now = () => 5_000;
    try {
        const server = device + ahead;
        const headers = { Date: new Date(server - age * 1000).toUTCString(), Age: String(age) };
        learnTime(new Response("", { headers }), 4_800);
        device += jump;
        return [now() - server, isUncertain()];
    } finally {
        Date.now = realDate;
        delete performance.now;
    }
}"""


@pytest.mark.parametrize(("age", "jump"), [(0, 0), (30, 0), (0, 420_000), (0, -420_000), (3600, 420_000)])
@pytest.mark.parametrize("ahead", [0, 90_000, -5_000_000, 1_234_567])
def test_the_servers_time_is_known_despite_caches_and_clock_changes(
    run: Run, ahead: int, age: int, jump: int
) -> None:
    clocks = {"ahead": ahead, "age": age, "jump": jump}
    wrong, uncertain = run(f"live/server-clock.js?{ahead}.{age}.{jump}", LEARN, clocks)
    assert abs(wrong) <= 1_500  # the header has whole seconds
    assert uncertain is (jump != 0)


@pytest.mark.parametrize(
    ("attempt", "options", "ceiling"),
    [(0, {}, 1_000), (3, {}, 8_000), (5, {}, 30_000), (5_000, {}, 30_000), (1, {"base": 750}, 1_500)],
)
def test_backoff_spreads_below_a_doubling_ceiling(
    run: Run, attempt: int, options: dict[str, Any], ceiling: int
) -> None:
    wait = """({ backoff }, [attempt, options]) =>
        [0, 0.5, 1].map((drawn) => backoff(attempt, { ...options, random: () => drawn }))"""
    assert run("live/backoff.js", wait, [attempt, options]) == [0, ceiling / 2, ceiling]


@pytest.mark.parametrize(
    ("header", "shortest", "longest"),
    [
        ("10", 10_000, 15_000),
        (" 0", 0, 1_000),
        ("100000", 600_000, 900_000),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 50_000, 75_000),
        ("soon", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_a_retry_after_is_never_shortened(
    run: Run, header: str | None, shortest: int | None, longest: int | None
) -> None:
    ask = """({ retryAfter }, header) =>
        [0, 1].map((drawn) => retryAfter(header, { now: 10_000, random: () => drawn }))"""
    assert run("live/backoff.js", ask, header) == [shortest, longest]
