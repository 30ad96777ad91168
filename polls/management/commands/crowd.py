"""`manage.py crowd DEMO --voters 200 --rate 20`: let a simulated audience vote in a poll."""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from polls.management.audience import Audience, CannotVote, Report
from polls.management.terminal import console, printable
from polls.methods import get_method
from polls.models import canonical_code
from polls.text.plain_text import escaped

if sys.platform != "win32":
    import resource

ALL_ADDRESSES = ("", "0.0.0.0", "::", "[::]")


def own_address() -> str:
    host = "127.0.0.1" if settings.HOST in ALL_ADDRESSES else settings.HOST
    if ":" in host and host[0] != "[":
        host = f"[{host}]"
    return f"http://{host}:{settings.PORT}"


class Command(BaseCommand):
    help = "Simulate an audience that votes over the public HTTP API, and check that all ballots are counted."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("code", metavar="CODE", help="the poll's code, such as DEMO")
        add("--voters", type=int, default=200, help="how many voters arrive (%(default)s)")
        add("--rate", type=float, default=20, help="arrivals per second (%(default)s)")
        add(
            "--hesitate",
            type=float,
            default=0,
            metavar="SECONDS",
            help="mean time until a voter casts (%(default)s)",
        )
        add("--url", default=own_address(), help="the server (%(default)s)")
        add("--seed", type=int, help="seed of the random numbers, to repeat an audience")
        add("--sockets", action="store_true", help="each voter holds a socket open, as the page does")
        add("--others-vote", action="store_true", help="other people vote too: the tally may grow by more")

    def handle(self, *_args: Any, **options: Any) -> None:
        check_options(options)
        self.console = console(options)
        if options["sockets"]:
            allow_many_connections()
        report = self.run(options)
        self.console.print(summary_table(report))
        self.console.print(tally_table(report))
        if failures := find_failures(report, others_vote=options["others_vote"]):
            raise CommandError("\n".join(failures))
        self.stdout.write(success_message(report))

    def run(self, options: dict[str, Any]) -> Report:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[accepted]} accepted"), TimeRemainingColumn(),
        )  # fmt: skip
        code = canonical_code(options["code"])
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(f"Voting in {code}", total=options["voters"], accepted=0)
            done = 0

            def on_progress(report: Report) -> None:
                nonlocal done
                done += 1
                progress.update(task, completed=done, accepted=report.accepted)

            audience = Audience(
                options["url"].rstrip("/"), code, options["voters"], options["rate"],
                options["hesitate"], options["seed"], options["sockets"], on_progress,
            )  # fmt: skip
            try:
                return asyncio.run(vote_until_interrupted(audience))
            except CannotVote as error:
                progress.remove_task(task)
                raise CommandError(escaped(str(error))) from None
            except KeyboardInterrupt:
                raise CommandError("Stopped before the last answers came in.") from None


def allow_many_connections() -> None:
    """Raise the soft limit of open files, often 1024, to the hard limit."""
    if sys.platform != "win32":
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with suppress(OSError, ValueError):  # macOS reports "unlimited" but refuses that value
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def vote_until_interrupted(audience: Audience) -> Report:
    """Run the audience. The first Ctrl-C waits for requests under way, the second doesn't."""
    loop = asyncio.get_running_loop()

    def leave() -> None:
        audience.stop()
        loop.remove_signal_handler(signal.SIGINT)

    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGINT, leave)
    return await audience.vote()


def check_options(options: dict[str, Any]) -> None:
    if options["voters"] < 1 or options["rate"] <= 0 or options["hesitate"] < 0:
        raise CommandError("--voters and --rate must be above 0, and --hesitate must not be negative.")
    address = urlsplit(options["url"])
    if address.scheme not in ("http", "https") or not address.netloc:
        raise CommandError(f"--url takes an address such as {own_address()}, not {options['url']}.")


def summary_table(report: Report) -> Table:
    table = Table(title="Ballots", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_row("cast", str(report.cast))
    table.add_row("accepted", str(report.accepted))
    for code, count in sorted(report.refused.items()):
        table.add_row(f"refused: {escaped(code)}", str(count))
    table.add_row("unknown", str(report.unknown))
    table.add_row("sent again", str(report.retries))
    if report.sockets or report.sockets_lost:
        table.add_row("sockets", str(report.sockets))
        table.add_row("sockets lost", str(report.sockets_lost))
    table.add_row("per second", f"{report.cast / report.seconds:.1f}" if report.seconds else "–")
    if report.latencies:
        for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            table.add_row(f"latency {name}", f"{report.percentile(part) * 1000:.0f} ms")
    return table


def tally_table(report: Report) -> Table:
    """Return the public tally before and after the run as a table."""
    table = Table("", title=printable(report.after.get("question") or "Tally"), title_justify="left")
    if not (report.before.get("visible") and report.after.get("visible")):
        table.add_row("can't be read" if report.tally_error else "hidden for now")
        return table
    method = get_method(report.after["method"])
    (_label, *head), rows = method.table(report.after)
    for name in ("before", *head):
        table.add_column(str(name).lower(), justify="right")
    earlier = {row.label: row.figures[0] for row in method.table(report.before).rows}
    for row in rows:
        figures = (earlier.get(row.label, "–"), *row.figures)
        table.add_row(printable(row.label), *map(str, figures))
    table.add_section()
    table.add_row("ballots", str(report.before["ballots"]), str(report.after["ballots"]))
    return table


def find_failures(report: Report, *, others_vote: bool) -> list[str]:
    """Return the reasons why the run failed, as sentences. The list is empty after a success."""
    failures = []
    if report.refused:
        failures.append(
            f"{report.refused.total()} voters were refused: {escaped(', '.join(sorted(report.refused)))}."
        )
    if report.unknown:
        failures.append(f"{report.unknown} ballots have no known outcome: the server didn't answer in time.")
    growth = report.growth
    if report.tally_error:
        failures.append(f"The tally can't be read any more. {escaped(report.tally_error)}")
    elif growth is None:
        if report.before.get("round") != report.after.get("round"):
            failures.append("The poll was reset meanwhile, so the tallies can't be compared.")
    elif growth < report.accepted:
        failures.append(f"{report.accepted} ballots were acknowledged, but the tally grew by {growth} only.")
    elif growth > report.accepted + report.unknown and not others_vote:
        failures.append(
            f"{report.accepted} ballots were acknowledged, but the tally grew by {growth}. "
            "If other people voted too, add --others-vote."
        )
    return failures


def success_message(report: Report) -> str:
    if report.growth is None:
        return f"{report.accepted} ballots acknowledged. Not compared with the tally: the results are hidden."
    return f"All {report.accepted} acknowledged ballots are counted."
