"""What the runner of a fault tells the processes of a running system: files in a folder they all see.

An order is taken once, by the first process that reaches its step; a switch is on while its file is there.
The code under test knows nothing of this: tests/faults/inside puts the steps around its functions.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

FOLDER = "FAULTS_FOLDER"  # the environment variable that names it
COOKIES = "FAULTS_COOKIES"  # another: how many voters there may be

Act = Literal["kill", "stop"]


class Orders:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # the runner's side

    def give(self, step: str, act: Act = "kill") -> None:
        """Whoever reaches `step` next does this to itself."""
        for old in self._folder.glob(f"{step}.taken.*"):
            old.unlink()
        written = self._folder / f"{step}.new"
        written.write_text(act)
        written.rename(self._folder / step)

    def taken_by(self, step: str) -> int | None:
        """The pid of who reached the step, once somebody has."""
        for found in self._folder.glob(f"{step}.taken.*"):
            return int(found.suffix[1:])
        return None

    def withdraw(self, step: str) -> None:
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
        """An API key of the system's, and cookies that it knows; once it has been prepared."""
        key, *cookies = (self._folder / "voters").read_text().split()
        return key, cookies

    # the processes' side

    def tell_voters(self, key: str, cookies: list[str]) -> None:
        (self._folder / "voters").write_text("\n".join([key, *cookies]))

    def take(self, step: str) -> str | None:
        order = self._folder / step
        if not order.exists():
            return None
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            taken = order.rename(self._folder / f"{step}.taken.{os.getpid()}")
            return taken.read_text()
        return None

    def is_on(self, name: str) -> bool:
        return (self._folder / f"{name}.on").exists()
