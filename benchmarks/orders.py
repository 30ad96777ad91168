"""Helper processes of the benchmarks. Commands and answers are JSON lines on the processes' pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tests.servers import dying_with_us
from tests.system import ROOT


class OrderFailed(Exception):
    """The process failed to carry out a command, or has exited."""


class Ordered:
    """Run `python -m module arguments` until the block ends."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cpus: set[int] | None = None,
    ) -> None:
        self.name = module
        command = [sys.executable, "-m", module, *arguments]
        if cpus:
            command = ["taskset", "--cpu-list", ",".join(map(str, sorted(cpus))), *command]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=env,
            preexec_fn=dying_with_us(15),
        )

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def order(self, what: str, **options: Any) -> dict[str, Any]:
        """Send a command and wait until it is done."""
        self.tell(what, **options)
        return self.answer()

    def tell(self, what: str, **options: Any) -> None:
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": what, **options}).encode() + b"\n")
            self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise OrderFailed(f"{self.name} ended by itself.")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise OrderFailed(f"{self.name}: {answer['failed']}")
        return answer


def obey(who: object) -> None:
    """Carry out commands in the helper process until the pipe is closed. "join" calls `who.do_join()`."""
    for line in sys.stdin:
        print(json.dumps(carry_out(who, line)), flush=True)


def carry_out(who: object, line: str | bytes) -> dict[str, Any]:
    order = json.loads(line)
    try:
        answer: dict[str, Any] = getattr(who, f"do_{order.pop('do')}")(**order)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    return answer
