"""`python -m benchmarks.load PLAN`: print "ready" once connected, start on input, print a report."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
from pathlib import Path

import uvloop

from benchmarks.load.generator import Generator
from benchmarks.load.plan import Plan, Report


async def offer(generator: Generator) -> Report:
    await generator.connect()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    gc.freeze()
    gc.disable()  # a pause here would look like a pause of the server
    return await generator.run()


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text()))
    generator = Generator(plan)
    report = uvloop.run(offer(generator))
    if plan.journal:
        ids = map(generator.ballot_id, generator.book.accepted)
        Path(plan.journal).write_text("".join(f"{each}\n" for each in ids))
    print(report.write(), flush=True)


if __name__ == "__main__":
    main()
