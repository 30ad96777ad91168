"""A server's own disk that can be filled: a small tmpfs, or a file size limit if none can be mounted.

With the tmpfs every write meets ENOSPC, as on any full disk. The limit stands in for it where a container has
no right to mount: writes then fail with EFBIG, which both servers take as they take any failed write.
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
    """Lies under `server.folder`; made before the server's first start."""

    def __init__(self, server: Server, size_mb: int) -> None:
        self._server, self._size = server, f"{size_mb}m"
        self.mounted = False

    @property
    def kind(self) -> str:
        return "a full tmpfs" if self.mounted else "a limit of file sizes, for want of a right to mount"

    def make(self) -> None:
        self.mounted = self._mount(f"size={self._size},mode=0711")

    def fill(self) -> None:
        """No byte more from now on."""
        if self.mounted:
            wait_for(self._shrink, 20, "a disk without room")
        else:
            self._limit((1, resource.RLIM_INFINITY))

    def _shrink(self) -> bool:
        """To what is on it; not where more has come meanwhile."""
        found = os.statvfs(self._folder)
        taken = (found.f_blocks - found.f_bfree) * found.f_frsize
        return self._mount(f"remount,size={max(taken, 1 << 16)}")

    def clear(self) -> None:
        """There is room again."""
        if self.mounted:
            self._mount(f"remount,size={self._size}")
        else:
            self._limit(UNLIMITED)

    def remove(self) -> None:
        """After the server has stopped."""
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
        """Of the server and all its processes; they ignore the signal that comes with a write beyond it."""
        assert self._server.process
        family = {self._server.process.pid}
        alive = processes()
        while grown := {each.pid for each in alive if each.parent in family} - family:
            family |= grown
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, sizes)
