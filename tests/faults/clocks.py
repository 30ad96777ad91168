"""Set the clocks of running processes wrong. The processes preload the library wrong_clock.c."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from pathlib import Path

from tests import install

SOURCE = Path(__file__).with_name("wrong_clock.c")
#: The clocks, in the order of their offsets in the file that wrong_clock.c reads.
CLOCKS = ("others", "web", "worker", "redis")


class Clocks:
    """The clocks of the processes that were started with `environment`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._library, self._file = folder / "wrong_clock.so", folder / "ahead"
        self._file.write_bytes(bytes(64))
        compiler = install.c_compiler()
        assert compiler, "There is no C compiler; `python -m tests.install` installs one"
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", self._library, SOURCE], check=True)

    def environment(self, clock: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self._library),
            "WRONG_CLOCKS": str(self._file),
            "WRONG_CLOCK": str(CLOCKS.index(clock)),
        }

    def set(self, clock: str, seconds: int) -> None:
        """Set the clock `seconds` ahead of the right time."""
        with self._file.open("r+b") as file:
            file.seek(8 * CLOCKS.index(clock))
            file.write(struct.pack("q", seconds))


def choose() -> None:
    """Select this process's clock by WRONG_CLOCK, which was set after the process had started."""
    if "wrong_clock" in os.environ.get("LD_PRELOAD", ""):
        ctypes.CDLL(None).choose_clock(int(os.environ["WRONG_CLOCK"]))
