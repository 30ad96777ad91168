"""The cost of counting a full vote log into ledger and tally, compared with COPY, upserts and tasks."""

from __future__ import annotations

import os
import random
import re
import resource
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.measure import Bench
from benchmarks.orders import Ordered
from benchmarks.processes import Meter, pid_of
from benchmarks.result import Goal, Row
from benchmarks.targets.stock import Stock
from tests.servers import wait_for
from tests.system import Landslide

NAME = "counting"
TITLE = "Counting alone, from the vote log into ledger and tally"

BALLOTS, QUICK_BALLOTS = 200_000, 20_000
UPSERT_SECONDS = 5
TASKS, QUICK_TASKS = 1_000, 100
CHOICES = 5
COLUMNS = "poll_id, round, voter_key, ballot_id, selection"
TYPES = ["int8", "int2", "bytea", "bytea", "varchar"]

#: A voter's row and the choice's counter in one transaction, as a typical web application writes them.
UPSERT = """\\set choice random(1, 5)
BEGIN;
INSERT INTO upsert_ballot SELECT 1, 1, uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()), :choice
  ON CONFLICT DO NOTHING;
INSERT INTO upsert_tally VALUES (:choice, 1)
  ON CONFLICT (choice) DO UPDATE SET votes = upsert_tally.votes + 1;
COMMIT;
"""

Ballot = tuple[int, int, bytes, bytes, str]


@dataclass(frozen=True)
class Sample:
    pace: float  # ballots per second
    per_cpu: float  # ballots per CPU second, including the database and the broker

    def __str__(self) -> str:
        return f"{self.pace:,.0f} ballots/s, {self.per_cpu:,.0f} per CPU-second"


class Clock:
    """Measures the wall time and the CPU time of process trees from its creation."""

    def __init__(self, *roots: int) -> None:
        self._meter, self._started, self._own = Meter(*roots), time.monotonic(), self._waited_for()

    @staticmethod
    def _waited_for() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def sample(self, ballots: int) -> Sample:
        seconds = time.monotonic() - self._started
        return Sample(ballots / seconds, ballots / (self._meter.seconds() + self._waited_for() - self._own))


class Books:
    """Landslide's database and vote log. No workers run, so only `landslide()` counts."""

    def __init__(self, bench: Bench, count: int) -> None:
        self.count = count
        self.postgresql = bench.postgresql
        self.system = Landslide(mode="full", postgresql=self.postgresql, redis=bench.redis, prepare=False)
        bench.until.callback(self.system.remove)
        self.postgresql.create_database(self.system.database)
        self.system.run_manage("migrate", "--verbosity", "0")
        # These tables are copies of the ledger, so the comparison is only about the way of writing rows.
        with self.connect() as connection:
            for name in ("copy_ballot", "encoded_ballot", "upsert_ballot"):
                connection.execute(f"CREATE TABLE {name} (LIKE polls_ballot INCLUDING ALL)")
            connection.execute("CREATE TABLE upsert_tally (choice int PRIMARY KEY, votes bigint NOT NULL)")
        self.batch = 0

    def connect(self) -> psycopg.Connection:
        return self.postgresql.connect(self.system.database)

    def landslide(self) -> Sample:
        with ExitStack() as until:
            inside = until.enter_context(Ordered("benchmarks.inside", env=self.system.env))
            code = inside.order("open_poll")["code"]
            inside.order("fill", code=code, count=self.count)
            clock = Clock(inside.process.pid, pid_of(self.postgresql))
            counted = inside.order("count")
            sample = clock.sample(self.count)
            if counted["counted"] != self.count:
                raise RuntimeError(f"counted {counted['counted']} of {self.count} ballots")
            self.batch = counted["batch"]
        return sample

    def copy(self) -> Sample:
        """Copy ready-made rows, one transaction per batch. Second ballots aren't detected."""
        batches = list(self._batches())
        with self.connect() as connection, connection.cursor() as cursor:
            clock = Clock(pid_of(self.postgresql))
            own = time.process_time()
            for rows in batches:
                with cursor.copy(f"COPY copy_ballot ({COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(TYPES)
                    for row in rows:
                        copy.write_row(row)
            return self._with_own(clock, own)

    def encoded(self) -> Sample:
        """Copy rows that are encoded before the measurement, to measure the database alone."""
        batches = [encode(rows) for rows in self._batches()]
        with self.connect() as connection, connection.cursor() as cursor:
            clock = Clock(pid_of(self.postgresql))
            own = time.process_time()
            for data in batches:
                with cursor.copy(f"COPY encoded_ballot ({COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
                    copy.write(data)
            return self._with_own(clock, own)

    def _with_own(self, clock: Clock, own: float) -> Sample:
        """Add the CPU time of this process, which is the client."""
        used = time.process_time() - own
        sample = clock.sample(self.count)
        return Sample(sample.pace, self.count / (self.count / sample.per_cpu + used))

    def _batches(self) -> Iterator[list[Ballot]]:
        """Make rows for another poll. Number, batch size and order are those of Landslide's run."""
        size = self.batch or 10_000
        poll = random.randrange(1 << 40)
        for start in range(0, self.count, size):
            yield sorted(
                (poll, 1, os.urandom(16), uuid.uuid4().bytes, str(random.randint(1, CHOICES)))
                for _ in range(min(size, self.count - start))
            )

    def upserts(self, seconds: int = UPSERT_SECONDS) -> Sample:
        """Run several clients, so that one fsync serves several of them."""
        script = Path(self.system.folder) / "upsert.sql"
        script.write_text(UPSERT)
        command = [str(self.postgresql.bin / "pgbench"), "--no-vacuum", "--protocol=prepared"]
        command += ["--client=8", "--jobs=1", f"--time={seconds}", f"--file={script}"]
        command += ["--host=127.0.0.1", f"--port={self.postgresql.port}", "--username=landslide"]
        clock = Clock(pid_of(self.postgresql))
        done = subprocess.run([*command, self.system.database], capture_output=True, text=True, check=True)
        found = re.search(r"transactions actually processed: (\d+)", done.stdout)
        pace = re.search(r"tps = ([\d.]+)", done.stdout)
        if not found or not pace:
            raise RuntimeError(f"pgbench said:\n{done.stdout}{done.stderr}")
        return Sample(float(pace[1]), clock.sample(int(found[1])).per_cpu)


def encode(rows: list[Ballot]) -> bytes:
    """Return the rows in the binary format of PostgreSQL's COPY."""
    parts = [b"PGCOPY\n\xff\r\n\0" + bytes(8)]
    for poll, round_, voter, ballot, selection in rows:
        text = selection.encode()
        parts += [
            struct.pack(">hiqih", 5, 8, poll, 2, round_),
            struct.pack(">i16si16s", 16, voter, 16, ballot),
            struct.pack(">i", len(text)),
            text,
        ]
    return b"".join([*parts, b"\xff\xff"])


class TaskAVote:
    """Runs the stock stack's worker. A task for each vote recounts the poll and sends the result."""

    def __init__(self, bench: Bench, tasks: int) -> None:
        self.stock, self.tasks = Stock(bench), tasks
        self.database = bench.postgresql

    def __call__(self) -> Sample:
        self._vote()
        self.stock.worker.freeze()
        send = f"from votes.tasks import recount; [recount.delay(1) for _ in range({self.tasks})]"
        self.stock.run_manage("shell", "-c", send)
        clock = Clock(self.stock.worker.pid, pid_of(self.database), pid_of(self.stock.redis))
        self.stock.worker.thaw()
        wait_for(self._done, 300, f"{self.tasks} tasks")
        return clock.sample(self.tasks)

    def _vote(self) -> None:
        """Insert the votes before the measurement, since the stock stack's web process writes them."""
        with self.database.connect(self.stock.database) as connection:
            connection.execute(
                "INSERT INTO votes_vote (poll_id, choice_id, voter, created_at)"
                " SELECT 1, (SELECT min(id) + number %% 5 FROM votes_choice), gen_random_uuid(), now()"
                " FROM generate_series(1, %s) AS number",
                (self.tasks,),
            )

    def _done(self) -> bool:
        with self.stock.redis.client() as client:
            return not client.llen("celery") and not client.hlen("unacked")


def run(bench: Bench) -> list[Row]:
    books = Books(bench, QUICK_BALLOTS if bench.quick else BALLOTS)
    task_a_vote = TaskAVote(bench, QUICK_TASKS if bench.quick else TASKS)
    taken: dict[str, list[Sample]] = bench.in_turn(
        {
            "landslide": books.landslide,
            "COPY": books.copy,
            "COPY, encoded before": books.encoded,
            "upserts": books.upserts,
            "task a vote": task_a_vote,
        }
    )
    pace = {name: [sample.pace for sample in samples] for name, samples in taken.items()}
    per_cpu = {name: [sample.per_cpu for sample in samples] for name, samples in taken.items()}
    goals = [Goal("COPY", least=0.5), Goal("task a vote", least=20)]
    note = (
        f"One process counts {books.count:,} ballots, exactly once. COPY writes the same rows into the same"
        f" table, {books.batch:,} in a transaction. The upserts are made by pgbench with 8 clients, two rows"
        " in a transaction."
    )
    return [
        Row(
            f"{NAME}.pace",
            "Ballots counted per second",
            "ballots/s",
            pace.pop("landslide"),
            pace,
            goals,
            note=note,
        ),
        Row(
            f"{NAME}.cpu",
            "Ballots counted per CPU-second, database included",
            "ballots/CPU-s",
            per_cpu.pop("landslide"),
            per_cpu,
        ),
    ]
