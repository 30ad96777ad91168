"""Rules of polls for an event loop: from the cache, refreshed from the database by a few threads."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from polls.db_connections import closing_connections
from polls.errors import Overloaded, PollNotFound
from polls.voters import poll_rules
from polls.voters.poll_rules import PollRules

P = ParamSpec("P")
T = TypeVar("T")

#: Rules older than FRESH_SECONDS are refreshed. In the meantime, ballots still use these rules. If the rules
#: are older than STALE_SECONDS, the ballot waits for the refresh.
FRESH_SECONDS, STALE_SECONDS = 1.0, 3.0
#: A ballot waits for the database for at most this many seconds. After a timeout, ballots use stale rules
#: without waiting, for the same number of seconds.
DATABASE_TIMEOUT = 1.0
#: Limits for work that needs the database, so that a flood of unusual requests can't overload it.
DATABASE_THREADS, MAX_CHECKS, MAX_LOADS = 2, 200, 100


class RulesLoader:
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(DATABASE_THREADS, "rules-loader")
        self._loading: dict[str, asyncio.Future[PollRules]] = {}
        self._failed_at = -DATABASE_TIMEOUT
        self._checks = 0

    def cached(self, code: str) -> PollRules | None:
        """Return cached rules if they may be used now, and start to refresh them if they aren't fresh."""
        cached = poll_rules.cached_rules(code)
        if cached is None:
            return None
        rules, age = cached
        if age > FRESH_SECONDS:
            self._load(code)
            if age > STALE_SECONDS and time.monotonic() - self._failed_at >= DATABASE_TIMEOUT:
                return None
        return rules

    async def load(self, code: str) -> PollRules:
        """Return refreshed rules, or cached ones if the database doesn't answer; raise PollNotFound."""
        cached = poll_rules.cached_rules(code)
        if cached is None:
            if code not in self._loading and len(self._loading) >= MAX_LOADS:
                raise Overloaded()
            return await asyncio.shield(self._load(code))
        try:
            return await asyncio.wait_for(asyncio.shield(self._load(code)), DATABASE_TIMEOUT)
        except PollNotFound:
            raise
        except Exception:
            self._failed_at = time.monotonic()
            return cached[0]

    async def check(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call a function that reads the database, in a thread; raise Overloaded if too many calls wait."""
        if self._checks >= MAX_CHECKS:
            raise Overloaded()
        self._checks += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: closing_connections(function, *args, **options)
            )
        finally:
            self._checks -= 1

    def _load(self, code: str) -> asyncio.Future[PollRules]:
        """Load a poll's rules in a thread. All requests that wait for the same poll share one load."""
        loading = self._loading.get(code)
        loop = asyncio.get_running_loop()
        if loading is None or loading.get_loop() is not loop:
            loading = loop.run_in_executor(self._threads, closing_connections, poll_rules.get_rules, code)
            self._loading[code] = loading
            loading.add_done_callback(lambda done: self._loaded(code, done))
        return loading

    def _loaded(self, code: str, done: asyncio.Future[PollRules]) -> None:
        self._loading.pop(code, None)
        if not done.cancelled():
            done.exception()  # retrieve it, so that asyncio logs no warning if no request waited for it
