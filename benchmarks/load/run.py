"""Start a load from the measuring process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.load.plan import Plan, Report
from benchmarks.processes import load_core
from tests.system import ROOT


class LoadFailed(Exception):
    """The load or the answers were not as planned."""


class Void(LoadFailed):
    """The load generator was the bottleneck, as on a busy machine. A retry may succeed."""


class Load:
    """A connected load that waits for `go()`. `wait()` returns its report."""

    def __init__(self, plan: Plan, cores: set[int] | None = None) -> None:
        self._seconds = plan.seconds + plan.timeout
        self._folder = tempfile.TemporaryDirectory(prefix="landslide-load-")
        path = Path(self._folder.name) / "plan.json"
        path.write_text(json.dumps(asdict(plan)))
        cores = load_core() if cores is None else cores
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        assert self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            self.close()
            raise LoadFailed("The load could not connect; its error is above.")

    def go(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait(self) -> Report:
        try:
            written, _ = self._process.communicate(timeout=self._seconds + 120)
        finally:
            self.close()
        if self._process.returncode:
            raise LoadFailed(f"The load ended with status {self._process.returncode}.")
        return Report.read(written)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def offer(plan: Plan, cores: set[int] | None = None) -> Report:
    load = Load(plan, cores)
    load.go()
    return load.wait()
