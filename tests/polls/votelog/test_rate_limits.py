"""Rate limits: the keys of a cast, the refusal of casts, and the stores' counts."""

import itertools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polls.errors import RateLimited
from polls.votelog import rate_limits
from polls.votelog.redis.log import RedisVoteLog
from tests.polls.votelog.contract import ballot, known, make, open_gate
from tests.servers import Redis

HOME, NEIGHBOUR, ELSEWHERE = "203.0.113.7", "203.0.113.99", "198.51.100.7"

#: Seconds: so long that no window ends during a test.
WINDOW = 10_000_000

Count = Callable[..., None]


def limit_by(settings: Any, window: int) -> None:
    settings.RATE_LIMITS = [f"voter=5/{window}", f"address=10/{window}", f"network=20/{window}"]
    rate_limits.set_salt(b"salt" * 4, 3600)


@pytest.fixture(autouse=True)
def limited(settings: Any) -> None:
    limit_by(settings, WINDOW)


def cast(
    address: str = HOME, voter: int = 0, poll: int = 7, venues: tuple[str, ...] = ()
) -> tuple[bytes, ...]:
    return rate_limits.keys_of_cast(poll, voter.to_bytes(16, "little"), address, venues)


@pytest.fixture(params=["here", pytest.param("redis", marks=pytest.mark.full_only)])
def count(request: pytest.FixtureRequest) -> Count:
    """Count the casts of a batch, in this process or in Redis."""
    if request.param == "here":
        return rate_limits.SlidingWindows().count
    server: Redis = request.getfixturevalue("redis_server")
    log = RedisVoteLog(server.url(), prefix="counting", partitions=2)
    make(log)
    open_gate(log)
    numbers = itertools.count(1)

    def counted(casts: Any) -> None:
        batch = [ballot(next(numbers)) for _ in casts]
        log.append(
            [msgspec.structs.replace(b, rate_limit_keys=c) for b, c in zip(batch, casts, strict=True)],
            known(log),
        )

    return counted


# --- what a cast counts for ---


def test_a_cast_counts_for_its_voter_address_and_network() -> None:
    assert [field[:1] for field in cast()] == [rate_limits.VOTER, rate_limits.ADDRESS, rate_limits.NETWORK]


def test_neighbours_share_a_network_and_nothing_else() -> None:
    _, mine, our_network = cast(HOME)
    _, theirs, their_network = cast(NEIGHBOUR)
    assert mine != theirs
    assert our_network == their_network
    assert not set(cast(HOME, voter=1)) & set(cast(ELSEWHERE, voter=2))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:100::1", "2001:db8:1:1ff:2::9", True),
        ("2001:db8:1:100::1", "2001:db8:1:ff00::1", True),
        ("2001:db8:1:100::1", "2001:db8:2:100::1", False),
        ("203.0.113.7", "203.0.113.200", True),
        ("203.0.112.7", "203.0.113.7", False),
    ],
)
def test_a_network_is_a_24_or_a_48(one: str, other: str, same: bool) -> None:
    assert (cast(one)[2] == cast(other)[2]) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:100::1", "2001:db8:1:100:ffff::9", True),
        ("2001:db8:1:100::1", "2001:db8:1:101::1", False),
        ("203.0.113.7", "203.0.113.8", False),
    ],
)
def test_an_address_is_a_64_in_ipv6_of_which_one_client_has_all(one: str, other: str, same: bool) -> None:
    assert (cast(one)[1] == cast(other)[1]) is same


def test_each_poll_has_its_own_counts() -> None:
    assert not set(cast(poll=7)[1:]) & set(cast(poll=8)[1:])


def test_an_address_is_only_a_hash_with_a_salt() -> None:
    before = cast()
    assert HOME.encode() not in b"".join(before)
    rate_limits.set_salt(b"other salt", 3600)
    assert not set(before[1:]) & set(cast()[1:])


@pytest.mark.parametrize("shared", ["203.0.113.0/24", "203.0.113.7", "::/0"])
def test_at_a_venue_only_the_voter_counts(shared: str) -> None:
    address = "2001:db8::1" if ":" in shared else HOME
    assert [f[:1] for f in cast(address, venues=(shared,))] == [rate_limits.VOTER]
    assert len(cast(ELSEWHERE, venues=(shared,))) == 3


def test_the_servers_own_networks_are_venues(settings: Any) -> None:
    for address in ("127.0.0.1", "10.1.2.3", "192.168.7.7", "172.20.0.1", "::1", "fd00::1"):
        assert len(cast(address)) == 1, address
    settings.VENUE_NETWORKS = []
    rate_limits.set_salt(b"salt", 3600)
    assert len(cast("127.0.0.1")) == 3


def test_without_an_address_or_a_salt_only_the_voter_counts() -> None:
    assert len(cast("")) == 1
    rate_limits.set_salt(b"", 3600)
    assert len(cast()) == 1


# --- counting and refusing ---


def test_the_last_cast_within_the_limit_is_taken_and_the_next_refused(count: Count) -> None:
    count([cast(voter=n) for n in range(10)])
    assert rate_limits.check(cast(voter=10)) == ""
    count([cast(voter=10)])
    with pytest.raises(RateLimited) as refused:
        rate_limits.check(cast(voter=11))
    assert refused.value.retry_after is not None
    assert 1 <= refused.value.retry_after <= WINDOW + 4
    assert rate_limits.check(cast(ELSEWHERE, voter=11)) == ""
    assert rate_limits.check(cast(NEIGHBOUR, voter=11)) == "", (
        "the limit of a network is higher than that of an address"
    )


def test_a_network_has_its_own_limit(count: Count) -> None:
    count([cast(f"203.0.113.{n}", voter=n) for n in range(21)])
    with pytest.raises(RateLimited, match="network"):
        rate_limits.check(cast("203.0.113.200", voter=99))


def test_the_limit_of_a_voter_holds_from_every_address(count: Count) -> None:
    count([cast(f"192.0.{n}.1", voter=1) for n in range(6)])
    with pytest.raises(RateLimited, match="voter"):
        rate_limits.check(cast(ELSEWHERE, voter=1), quarantine=True)
    assert rate_limits.check(cast(ELSEWHERE, voter=2)) == ""


def test_a_poll_may_quarantine_instead_of_refusing(count: Count) -> None:
    count([cast(voter=n) for n in range(11)])
    assert rate_limits.check(cast(voter=12), quarantine=True) == rate_limits.OVER_LIMIT
    assert rate_limits.check(cast(ELSEWHERE, voter=12), quarantine=True) == ""


def test_counts_of_batches_add_up(count: Count) -> None:
    for start in range(0, 12, 3):
        count([cast(voter=n) for n in range(start, start + 3)])
    with pytest.raises(RateLimited):
        rate_limits.check(cast(voter=50))


def test_newly_exceeded_limits_are_reported_once(count: Count) -> None:
    batch = [cast(f"203.0.{net}.1", voter=net * 100 + n) for net in range(3) for n in range(11)]
    count(batch)
    assert rate_limits.newly_blocked((7, fields) for fields in batch) == {(7, "address"): 3}
    assert rate_limits.newly_blocked((7, fields) for fields in batch) == {}
    count(batch)
    assert rate_limits.newly_blocked((7, fields) for fields in batch) == {(7, "network"): 3}, (
        "the networks had not exceeded their limits before"
    )
    count(batch)
    assert rate_limits.newly_blocked((7, fields) for fields in batch) == {}


def test_the_previous_window_counts_in_proportion(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    limit_by(settings, 60)
    now = 600.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    windows = rate_limits.SlidingWindows()
    windows.count([cast(voter=n) for n in range(10)])
    now = 661.0  # a second into the next minute
    assert windows.count([cast(voter=11)]) != []
    now = 715.0  # most of the previous window no longer counts
    assert windows.count([cast(voter=12)]) == []
    now = 1000.0
    assert windows.count([cast(voter=n) for n in range(20, 30)]) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=120))
def test_a_limit_is_exceeded_by_at_most_one_batch(casts: list[tuple[int, int]]) -> None:
    rate_limits.forget()
    rate_limits.set_salt(b"salt", 3600)
    windows, through, batch = rate_limits.SlidingWindows(), Counter[str](), 8
    for start in range(0, len(casts), batch):
        let_in = []
        for voter, place in casts[start : start + batch]:
            fields = cast(f"198.51.{place}.1", voter=voter + start * 5)
            try:
                rate_limits.check(fields)
            except RateLimited:
                continue
            let_in.append(fields)
            through[f"{place}"] += 1
        windows.count(let_in)
    assert all(times <= 10 + batch for times in through.values())


# --- what Redis stores ---


@pytest.mark.parametrize("count", ["redis"], indirect=True)
def test_redis_stores_no_address_and_expires_the_counts(count: Count, redis_server: Redis) -> None:
    count([cast(voter=n) for n in range(3)])
    with redis_server.client() as client:
        keys = list(client.scan_iter("*{limits}:*"))
        assert len(keys) == 3
        assert all(0 < client.ttl(key) <= 2 * WINDOW for key in keys)
        stored = b"".join(field for key in keys for field in client.hgetall(key))
    assert HOME.encode() not in stored


def test_processes_share_a_salt_that_expires(redis_server: Redis) -> None:
    logs = [RedisVoteLog(redis_server.url(), prefix="salted", partitions=2) for _ in range(2)]
    (one, left), (other, _) = logs[0].salt(), logs[1].salt()
    assert one == other
    assert 0 < left <= rate_limits.SALT_SECONDS
    with redis_server.client() as client:
        client.flushall()
    assert logs[0].salt()[0] != one


def test_ballots_are_accepted_even_if_limits_cannot_be_counted(redis_server: Redis) -> None:
    log = RedisVoteLog(redis_server.url(), prefix="broken", partitions=1)
    make(log)
    open_gate(log)
    with redis_server.client() as client:
        # The keys of the current and the next window have the wrong type.
        window = int(client.time()[0]) // WINDOW
        for near in (window, window + 1):
            client.set(f"broken:{{limits}}:v:{near}", "no hash")
    marked = ballot(1)
    (outcome,) = log.append([msgspec.structs.replace(marked, rate_limit_keys=cast(""))], known(log))
    assert outcome.code == "accepted"


# --- the limit of the backlog ---


def test_a_full_backlog_accepts_ballots_again_once_it_shrinks(settings: Any, redis_server: Redis) -> None:
    settings.BACKLOG_LIMIT = 10
    log = RedisVoteLog(redis_server.url(), prefix="long", partitions=1)
    make(log)
    open_gate(log)
    log.append([ballot(n) for n in range(10)], known(log))
    assert [o.code for o in log.append([ballot(11)], known(log))] == ["overloaded"]
    assert [o.code for o in log.append([ballot(11)], known(log, 5))] == ["accepted"]
