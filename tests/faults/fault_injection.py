"""A test system whose connections can be cut, whose disks can be filled and whose clocks can be wrong."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.clocks import Clocks
from tests.faults.disks import Disk
from tests.faults.harness import Harness
from tests.faults.proxy import Proxy
from tests.servers import PostgreSQL, Redis

#: Sizes of the disks, which are in memory. An empty PostgreSQL takes 40 MB.
REDIS_MB, POSTGRESQL_MB = 128, 320
WAL = {"max_wal_size": "48MB", "min_wal_size": "32MB"}


class _Redis(Redis):
    def command(self) -> list[str]:
        """Start Redis with SIGXFSZ ignored, so that a write beyond the limit fails without ending Redis.

        Python ignores the signal too, but Popen restores its default in the child.
        """
        return ["env", "--ignore-signal=XFSZ", *super().command()]


class FaultInjectionHarness(Harness):
    """A harness with its own disks and clocks, and with a proxy between each role and each store."""

    def __init__(self, **options: Any) -> None:
        redis, postgresql = _Redis(), PostgreSQL(**WAL)
        super().__init__(**options | {"redis": redis, "postgresql": postgresql})
        self.disks = {redis: Disk(redis, REDIS_MB), postgresql: Disk(postgresql, POSTGRESQL_MB)}
        self.links = {
            (role, store): Proxy(store.port) for role in ("web", "worker") for store in (redis, postgresql)
        }
        self.clocks = Clocks(self.system.folder / "clocks")
        redis.environment = dict(self.system.env) | self.clocks.environment("redis")
        self.system.env.update(self.clocks.environment("others"))
        for role in ("web", "worker"):
            self.system.env[f"FAULTS_ENV_{role.upper()}"] = json.dumps(self._of_role(role))

    def _of_role(self, role: str) -> dict[str, str]:
        """Return the environment of one role's processes: their clock, and their proxies' addresses."""
        to_redis, to_postgresql = self.link(role, self.redis), self.link(role, self.postgresql)
        address = self.system.env["DATABASE_URL"]
        return {
            "VOTE_LOG_REDIS_URL": f"redis://127.0.0.1:{to_redis.port}/0",
            "DATABASE_URL": address.replace(f":{self.postgresql.port}/", f":{to_postgresql.port}/"),
            "WRONG_CLOCK": self.clocks.environment(role)["WRONG_CLOCK"],
        }

    def link(self, role: str, store: PostgreSQL | Redis) -> Proxy:
        return self.links[role, store]

    def start(self) -> None:
        for disk in self.disks.values():
            disk.make()
        for proxy in self.links.values():
            proxy.start()
        super().start()

    def remove(self) -> None:
        self.system.stop()
        for server, disk in self.disks.items():
            server.stop()
            disk.remove()
        super().remove()
        for proxy in self.links.values():
            proxy.stop()

    @contextlib.contextmanager
    def wrong_clock(self, name: str, seconds: int) -> Iterator[None]:
        self.clocks.set(name, seconds)
        try:
            yield
        finally:
            self.clocks.set(name, 0)

    # --- an older copy of the vote log ---

    def copy_log(self) -> Path:
        """Copy what Redis has on disk now, like a backup or a lagging replica."""
        copy = self.redis.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._log_files, copy)
        return copy

    def put_back(self, copy: Path) -> None:
        """Kill Redis and start it again with the copy."""
        self.redis.kill()
        shutil.rmtree(self._log_files)
        copy.rename(self._log_files)
        self.redis.start()

    @property
    def _log_files(self) -> Path:
        return self.redis.folder / "appendonlydir"


def injection(harness: Harness) -> FaultInjectionHarness:
    assert isinstance(harness, FaultInjectionHarness)
    return harness
