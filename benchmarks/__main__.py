"""`python -m benchmarks [MEASURE ...]`: run all measures, or those named, and write the results."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks import machine, plot, report
from benchmarks.install import ensure
from benchmarks.measure import Bench, Measure, Skip, measures
from benchmarks.result import Outcome, Results

HERE = Path(__file__).parent
NO_MEASURE_TAKES = 30 * 60  # seconds
FULL, QUICK = (3, 5.0), (2, 2.0)  # number of repeats, seconds of load in each repeat


def arguments(known: list[Measure]) -> argparse.Namespace:
    listed = "\n".join(f"  {each.NAME:<14} {each.TITLE}" for each in known)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure Landslide against its peers, in turn, on this machine.",
        epilog=f"measures:\n{listed}",
    )
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help="only these")
    parser.add_argument("--quick", action="store_true", help="short loads and few repeats")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--seconds", type=float, help="of load, in each repeat")
    parser.add_argument("--out", type=Path, default=HERE, help="where results.json and so on are written")
    options = parser.parse_args()
    if unknown := set(options.measures) - {each.NAME for each in known}:
        parser.error(f"no such measure: {', '.join(sorted(unknown))}\n{listed}")
    repeats, seconds = QUICK if options.quick else FULL
    options.repeats = options.repeats or repeats
    options.seconds = options.seconds or seconds
    return options


def main() -> int:
    # SIGTERM raises SystemExit, so that context managers stop the servers, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    known = list(measures())
    options = arguments(known)
    console = Console()
    ensure()
    chosen = [each for each in known if not options.measures or each.NAME in options.measures]
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.out / "results.json")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="landslide-bench-") as home:
        for number, measure in enumerate(chosen, 1):
            console.rule(
                f"[bold]{number}/{len(chosen)}  {measure.TITLE}[/] [dim]{measure.NAME}", align="left"
            )
            outcome = taken(measure, options, console, Path(home))
            failed += bool(outcome.failure)
            results.keep(outcome)
            write(
                results, [each.NAME for each in known], options.out
            )  # written after each measure, since the next measure may be interrupted
    console.print(f"Written: {options.out / 'RESULTS.md'}")
    return 1 if failed else 0


def taken(measure: Measure, options: argparse.Namespace, console: Console, home: Path) -> Outcome:
    quick = " --quick" if options.quick else ""
    outcome = Outcome(
        measure.NAME, measure.TITLE, f"python -m benchmarks {measure.NAME}{quick}",
        date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), quick=options.quick, repeats=options.repeats,
        machine=machine.machine(), versions=machine.versions(),
    )  # fmt: skip
    started = time.monotonic()
    folder = home / measure.NAME
    folder.mkdir(exist_ok=True)
    bench = Bench(options.quick, options.repeats, options.seconds, console, folder, out=options.out)
    try:
        with ended_after(NO_MEASURE_TAKES), ExitStack() as bench.until:
            outcome.rows = measure.run(bench)
    except Skip as reason:
        outcome.skipped = str(reason)
        console.print(f"[yellow]left out:[/] {reason}", highlight=False)
    except Exception as error:
        outcome.failure = (
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        )
        console.print(traceback.format_exc(), style="red", markup=False, highlight=False)
    outcome.seconds = round(time.monotonic() - started, 1)
    show(outcome, console)
    return outcome


def show(outcome: Outcome, console: Console) -> None:
    for row in outcome.rows:
        console.print(
            f"{row.title}: {report.with_spread(row.median, row.spread)} {row.unit}", highlight=False
        )
        for peer in row.peers:
            ratio = report.with_spread(row.ratio(peer), row.ratio_spread(peer))
            console.print(f"  {ratio} × {peer}", highlight=False)
        for verdict in row.verdicts():
            colour = "green" if verdict.reached else "red"
            console.print(f"  [{colour}]{verdict.goal}: {'reached' if verdict.reached else 'missed'}")


@contextmanager
def ended_after(seconds: int) -> Iterator[None]:
    def too_long(*_: object) -> None:
        raise TimeoutError(f"took longer than {seconds} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def write(results: Results, order: list[str], out: Path) -> None:
    results.outcomes = {name: results.outcomes[name] for name in order if name in results.outcomes}
    results.save()
    outcomes = results.outcomes.values()
    (out / "RESULTS.md").write_text(report.page(outcomes))
    plot.draw(outcomes, out / "results.svg")


if __name__ == "__main__":
    sys.exit(main())
