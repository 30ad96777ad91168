"""Failpoints and switches for the processes of a running system: files in a folder that they all read.

A failpoint is hit once, by the first process that reaches its step. A switch is on while its file exists. The
product has no code for either: tests/faults/inside wraps its functions.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

FOLDER = "FAULTS_FOLDER"  # the environment variable with the folder's path
COOKIES = "FAULTS_COOKIES"  # the environment variable with the number of voter cookies

Act = Literal["kill", "stop"]


class Failpoints:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # --- called by the runner ---

    def arm(self, step: str, act: Act = "kill") -> None:
        """Make the next process that reaches `step` kill or stop itself."""
        for old in self._folder.glob(f"{step}.taken.*"):
            old.unlink()
        written = self._folder / f"{step}.new"
        written.write_text(act)
        written.rename(self._folder / step)

    def hit_by(self, step: str) -> int | None:
        """Return the pid of the process that reached the step, or None if none has yet."""
        for found in self._folder.glob(f"{step}.taken.*"):
            return int(found.suffix[1:])
        return None

    def disarm(self, step: str) -> None:
        (self._folder / step).unlink(missing_ok=True)

    def switch(self, name: str, on: bool) -> None:
        path = self._folder / f"{name}.on"
        path.touch() if on else path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def switched_on(self, *names: str) -> Iterator[None]:
        for name in names:
            self.switch(name, on=True)
        try:
            yield
        finally:
            for name in names:
                self.switch(name, on=False)

    def voters(self) -> tuple[str, list[str]]:
        """Return the API key and the voter cookies that the prepared system accepts."""
        key, *cookies = (self._folder / "voters").read_text().split()
        return key, cookies

    # --- called by the processes under test ---

    def publish_voters(self, key: str, cookies: list[str]) -> None:
        (self._folder / "voters").write_text("\n".join([key, *cookies]))

    def hit(self, step: str) -> str | None:
        """Take the failpoint at `step`. Return "kill", "stop" or None."""
        armed = self._folder / step
        if not armed.exists():
            return None
        with contextlib.suppress(FileNotFoundError):  # another process took it
            taken = armed.rename(self._folder / f"{step}.taken.{os.getpid()}")
            return taken.read_text()
        return None

    def is_on(self, name: str) -> bool:
        return (self._folder / f"{name}.on").exists()
