"""Run the full fault matrix, or only the rows that contain one of the words:

`python -m tests.faults [WORD…] [--write FILE]`
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults import matrix
from tests.faults.matrix import Matrix

PAGE = """# Faults

This page shows the last full run of `make faults`. Each row injects a fault into a running system while
voters cast ballots. A journal outside the system records every ballot and every answer. Afterwards the
result is compared with this journal. Then each row runs again on a build that is broken on purpose, to show
that its check can fail. The column *broken build* names the check that failed there.

*Acknowledged* ballots were answered with 202. At most one ballot per voter is *counted*, so replaced ballots
aren't included. *Lost* are acknowledged ballots that were neither counted nor replaced nor kept as dead
letters. *Doubled* are voters with more than one ballot. The code is in `tests/faults/`.
[tests/README.md](../tests/README.md) says how to add a row.

{date}, {machine}, Python {python}, {minutes:.0f} minutes.

{table}"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only rows whose name or place has one of these words")
    parser.add_argument("--write", type=Path, help="write the table to this file")
    parser.add_argument("--no-broken", action="store_true", help="leave the broken builds out")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` stops the servers

    rows = [
        row
        for row in (*matrix.ROWS, *matrix.BUILDS)
        if not options.words or any(word in f"{row.name} {row.on}" for word in options.words)
    ]
    began, done = time.monotonic(), Matrix()
    console = Console()
    columns = (
        *(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        *(TextColumn("{task.fields[sums]}"), TextColumn("{task.description}")),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting a system", total=len(rows), sums="")
        told = lambda what: progress.update(task, description=what)  # noqa: E731
        for line in matrix.run(rows, told, broken=not options.no_broken):
            done.lines.append(line)
            sums = matrix.totals(done)
            progress.update(
                task,
                advance=1,
                sums=f"{sums['acknowledged']:,} acknowledged, {sums['lost']} lost, {sums['doubled']} doubled",
            )
            row = matrix.cells(line)
            colour = "green" if line.as_expected else "red"
            mark = "as expected" if line.as_expected else "NOT AS EXPECTED"
            progress.print(f"[{colour}]{mark}[/] {row[0]} ({row[1]}): {', '.join(_figures(row))}. {row[-1]}")

    page = PAGE.format(
        date=datetime.now(UTC).date(),
        machine=f"{os.cpu_count()} cores, {platform.system()}",
        python=platform.python_version(),
        minutes=(time.monotonic() - began) / 60,
        table=matrix.markdown(done),
    )
    console.print(page[page.rindex("In all:") :].strip(), style="bold")
    if options.write:
        options.write.write_text(page)
        console.print(f"The table is in {options.write}.")
    sys.exit(0 if done.as_expected else 1)


def _figures(row: list[str]) -> list[str]:
    return [f"{value} {name}" for name, value in zip(matrix.HEAD[4:12], row[4:12], strict=True)]


if __name__ == "__main__":
    main()
