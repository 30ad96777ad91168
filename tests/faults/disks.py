"""A disk for one server that tests can fill: a small tmpfs, or else a limit on file sizes.

On the full tmpfs every write fails with ENOSPC, as on any full disk. Containers that may not mount a tmpfs
use the limit. Writes then fail with EFBIG, which Redis and PostgreSQL handle like any other failed write.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from pathlib import Path

from tests.servers import Server, wait_for
from tests.system import processes

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class Disk:
    """The disk under `server.folder`. Call make() before the server's first start."""

    def __init__(self, server: Server, size_mb: int) -> None:
        self._server, self._size = server, f"{size_mb}m"
        self.mounted = False

    @property
    def kind(self) -> str:
        return "a full tmpfs" if self.mounted else "a limit on file sizes, since a tmpfs can't be mounted"

    def make(self) -> None:
        self.mounted = self._mount(f"size={self._size},mode=0711")

    def fill(self) -> None:
        """Make every further write fail."""
        if self.mounted:
            wait_for(self._shrink, 20, "a full disk")
        else:
            self._limit((1, resource.RLIM_INFINITY))

    def _shrink(self) -> bool:
        """Shrink the tmpfs to its used size. Return False if the server wrote more in the meantime."""
        found = os.statvfs(self._folder)
        taken = (found.f_blocks - found.f_bfree) * found.f_frsize
        return self._mount(f"remount,size={max(taken, 1 << 16)}")

    def clear(self) -> None:
        """Make room again."""
        if self.mounted:
            self._mount(f"remount,size={self._size}")
        else:
            self._limit(UNLIMITED)

    def remove(self) -> None:
        """Unmount the tmpfs. Call it after the server has stopped."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=False)
        self.mounted = False

    @property
    def _folder(self) -> Path:
        return self._server.folder

    def _mount(self, options: str) -> bool:
        if shutil.which("mount") is None or os.geteuid() != 0:
            return False
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._folder)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def _limit(self, sizes: tuple[int, int]) -> None:
        """Limit the file sizes of the server and all its child processes.

        They ignore SIGXFSZ, the signal for a write beyond the limit.
        """
        assert self._server.process
        family = {self._server.process.pid}
        alive = processes()
        while grown := {each.pid for each in alive if each.parent in family} - family:
            family |= grown
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, sizes)
