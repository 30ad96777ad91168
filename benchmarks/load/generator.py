"""The load generator. Only the clock decides when a request is due. An answer only frees a connection."""

from __future__ import annotations

import asyncio
import json
import random
import re
import resource
import time
from array import array
from collections import Counter, deque

from benchmarks.load.plan import Plan, Report, percentiles
from benchmarks.load.source import source
from benchmarks.load.wire import Connection

TICK = 0.001
LOOK_FOR_LATE = 0.25  # seconds between checks for overdue answers
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)")
FIRST_PAUSE = 0.5  # seconds before a retry if the answer has no Retry-After
WORTH_ANOTHER_TRY = ("429", "503", "unknown")


class Schedule:
    """The schedule says when each request is due, whatever happened to earlier requests."""

    def __init__(self, rate: float, start: float) -> None:
        self.rate, self.start = rate, start

    def due(self, now: float) -> int:
        """Return how many requests should have been sent by now."""
        return int((now - self.start) * self.rate) + 1 if now >= self.start else 0

    def time_of(self, number: int) -> float:
        return self.start + number / self.rate


class Book:
    """Outcomes of the requests. Latency is counted from when a request was due."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.accepted: list[int] = []
        self.accepted_after = array("d")
        self.answered_after = array("d")
        self.lags = array("d")
        self.units = 0
        self.in_time = 0

    def accept(self, number: int, due: float, now: float, units: int, *, in_time: bool) -> None:
        self.accepted.append(number)
        self.accepted_after.append(now - due)
        self.answered_after.append(now - due)
        self.units += units
        self.in_time += units if in_time else 0

    def refuse(self, due: float, now: float) -> None:
        self.answered_after.append(now - due)


class Generator:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.make, self.ballot_id, self.limit = source(plan)
        self.status = str(plan.accepted).encode()
        self.token = plan.units.encode()
        self.book = Book()
        self.free: list[Connection] = []
        self.open: set[Connection] = set()
        self.opening = 0
        self.queue: deque[int] = deque()  # numbers of due requests that wait for a free connection
        self.due: dict[int, float] = {}  # due times of sent and queued requests
        self.tries: Counter[int] = Counter()
        self.unknown = self.retried = self.next = 0
        self.schedule: Schedule | None = None
        self.ends = 0.0
        self.tasks: set[asyncio.Future[None]] = set()  # the event loop keeps only weak references to tasks
        self.last_answer = 0.0
        self.ran_out = False

    # --- connections ---

    async def connect(self) -> None:
        for _ in range(self.plan.connections):
            await self._open()
        if not self.open:
            raise ConnectionError(f"nothing answers on port {self.plan.port}")

    async def _open(self) -> None:
        self.opening += 1
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), "127.0.0.1", self.plan.port
            )
        except OSError:
            self.book.statuses["no connection"] += 1
        finally:
            self.opening -= 1

    def opened(self, connection: Connection) -> None:
        self.open.add(connection)
        self._use(connection)

    def _use(self, connection: Connection) -> None:
        """Give a free connection the next waiting request, if any."""
        if self.queue:
            number = self.queue.popleft()
            connection.send(number, self.make(number), time.perf_counter())
        elif not self._send_next(connection):
            self.free.append(connection)

    def _send_next(self, connection: Connection) -> bool:
        """Send at full speed. Every free connection sends the next request."""
        if self.plan.rate or not self.ends or (now := time.perf_counter()) >= self.ends:
            return False
        if (number := self._take(now)) is None:
            return False
        connection.send(number, self.make(number), now)
        return True

    def _take(self, due: float) -> int | None:
        if self.limit and self.next >= self.limit:
            self.ran_out = not self.plan.count
            return None
        number = self.next
        self.next += 1
        self.due[number] = due
        return number

    # --- sending ---

    async def run(self) -> Report:
        started_at, cpu = time.perf_counter(), _own_cpu()
        self.ends = started_at + self.plan.seconds
        late = asyncio.create_task(self._give_up_on_late_answers())
        if self.plan.rate:
            await self._by_the_clock(started_at)
        else:
            for connection in [self.free.pop() for _ in range(len(self.free))]:
                self._use(connection)
            await asyncio.sleep(self.plan.seconds)
        offered = min(time.perf_counter(), self.ends) - started_at
        await self._until_all_are_answered()
        late.cancel()
        return self._report(started_at, offered, _own_cpu() - cpu)

    async def _until_all_are_answered(self) -> None:
        while self.due and time.perf_counter() < self.ends + self.plan.timeout:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _by_the_clock(self, started_at: float) -> None:
        self.schedule = Schedule(self.plan.rate, started_at)
        total = round(self.plan.rate * self.plan.seconds)
        while self.next < total:
            now = time.perf_counter()
            for number in range(self.next, min(self.schedule.due(now), total)):
                due = self.schedule.time_of(number)
                if self._take(due) is None:
                    return
                self.book.lags.append(now - due)
                self._send(number)
            await asyncio.sleep(TICK)

    def _send(self, number: int) -> None:
        while self.free:
            connection = self.free.pop()
            if connection in self.open:
                connection.send(number, self.make(number), time.perf_counter())
                return
        self.queue.append(number)
        if len(self.open) + self.opening < self.plan.most_connections:
            self._open_another()

    def _open_another(self) -> None:
        task = asyncio.ensure_future(self._open())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # --- answers ---

    def answered(
        self, connection: Connection, number: int, status: bytes, head: bytes, body: bytes, *, reusable: bool
    ) -> None:
        now = self.last_answer = time.perf_counter()
        if number < 0:
            return
        text = status.decode()
        self.book.statuses[text] += 1
        if status == self.status:
            units = body.count(self.token) if self.token else 1
            self.book.accept(number, self.due.pop(number), now, units, in_time=now <= self.ends)
        else:
            self._count_code(body)
            self._settle(number, text, now, RETRY_AFTER.search(head))
        if reusable:
            self._use(connection)

    def lost(self, connection: Connection, number: int) -> None:
        self.open.discard(connection)
        if number >= 0:
            self.book.statuses["unknown"] += 1
            self._settle(number, "unknown", time.perf_counter(), None)
        if self.due and len(self.open) + self.opening < self.plan.connections:
            self._open_another()

    def _settle(self, number: int, status: str, now: float, pause: re.Match[bytes] | None) -> None:
        if status in WORTH_ANOTHER_TRY and self.tries[number] < self.plan.retries:
            self.tries[number] += 1
            self.retried += 1
            seconds = (float(pause[1]) if pause else FIRST_PAUSE) * random.uniform(1, 1.5)
            asyncio.get_running_loop().call_later(seconds, self._send, number)
            return
        due = self.due.pop(number)
        if status == "unknown":
            self.unknown += 1
        else:
            self.book.refuse(due, now)

    def _count_code(self, body: bytes) -> None:
        try:
            self.book.codes[str(json.loads(body)["code"])] += 1
        except (ValueError, KeyError, TypeError):
            self.book.codes["–"] += 1

    async def _give_up_on_late_answers(self) -> None:
        while True:
            await asyncio.sleep(LOOK_FOR_LATE)
            late = time.perf_counter() - self.plan.timeout
            for connection in [each for each in self.open if each.number >= 0 and each.sent_at < late]:
                assert connection.transport
                connection.transport.abort()

    # --- the end ---

    def _report(self, started_at: float, offered: float, cpu: float) -> Report:
        book = self.book
        return Report(
            sent=self.next,
            accepted=len(book.accepted),
            units=book.units,
            unknown=self.unknown + sum(each.number >= 0 for each in self.open),
            retried=self.retried,
            waiting=len(self.due),
            statuses=dict(book.statuses),
            codes=dict(book.codes),
            started=started_at,
            seconds=max(self.last_answer, started_at) - started_at,
            accepted_in_time=book.in_time,
            offered_seconds=offered,
            latency=percentiles(book.accepted_after),
            latency_of_all=percentiles(book.answered_after),
            own_lag=percentiles(book.lags),
            cpu_seconds=cpu,
            ran_out=self.ran_out,
        )


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
