"""`manage.py reconcile_log`: rebuild a vote log that was emptied, replaced or restored to an older copy."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.table import Table

from analytics.recovery import reconcile
from analytics.recovery.log_diagnosis import Damage, Plan, diagnose
from analytics.recovery.reconcile import ReconcileRefused, Restored
from polls.audit_log import COMMAND, record
from polls.management.terminal import command_errors, confirm, console, progress_bar

#: Kinds of damage that lose uncounted entries of the log.
_LOST = (Damage.GONE, Damage.FOREIGN, Damage.BEHIND, Damage.FORCED)


class Command(BaseCommand):
    help = (
        "Compare the vote log with what the database has counted. If they no longer belong together, rebuild "
        "the log's gates and claims from the database. Consistent partitions stay as they are."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="don't ask")
        parser.add_argument(
            "--all",
            action="store_true",
            help="rebuild partitions that look consistent too. Needed if servers still refuse ballots "
            "because the log has lost acknowledged ballots that were not counted yet",
        )
        parser.add_argument(
            "--discard-uncounted",
            action="store_true",
            help="go on even if acknowledged ballots are lost: uncounted ones in the old log, and those that "
            "only a newer copy of the database had counted",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        self.console = console(options)
        with command_errors():
            plan = diagnose(rebuild_all=options["all"])
            self.show(plan)
            if not plan.damaged:
                self.stdout.write("The vote log is the one that the database counts from. Nothing to do.")
                self.stdout.write(
                    "If servers still refuse ballots, they had acknowledged ballots that this log lacks and "
                    "that were not counted yet. Those ballots are lost. With --all, voting can go on."
                )
                return
            if not options["yes"]:
                self.ask(plan, options["discard_uncounted"])
            try:
                done = self.carry_out(plan, options["discard_uncounted"])
            except ReconcileRefused as error:
                raise CommandError(f"{error.detail}{self.advice(error)}") from None
            record(
                COMMAND,
                "vote log reconciled",
                partitions=[f"{f.partition}: {f.damage.value}" for f in plan.damaged],
                discarded=plan.uncounted,
                missing=plan.missing,
                **asdict(done),
            )
        self.report(plan, done)

    def show(self, plan: Plan) -> None:
        if plan.log_changed:
            self.stdout.write(
                f"The database counts from {plan.was} partitions; the settings name {plan.now}."
            )
        table = Table("Partition", "State", "Counted up to", "Log's end")
        for finding in plan.findings:
            end = "–" if finding.log_end is None else str(finding.log_end)
            table.add_row(str(finding.partition), finding.damage.value, str(finding.counted), end)
        self.console.print(table)
        if plan.uncounted is None:
            self.stdout.write(
                "The old log can't be read. It may hold acknowledged ballots that are not counted."
            )
        elif plan.uncounted:
            self.stdout.write(f"{plan.uncounted} acknowledged ballots in the old log are not counted.")
        if plan.missing:
            self.stdout.write(
                f"The database is older than the log: up to {plan.missing} acknowledged ballots were counted "
                "only in a newer copy of the database, and the log no longer has them."
            )
        lost = [str(f.partition) for f in plan.findings if f.damage in _LOST]
        if lost:
            self.stdout.write(
                f"Partition {', '.join(lost)}: ballots acknowledged after the last counted batch are lost "
                "with the log. How many there were is unknown."
            )

    def ask(self, plan: Plan, discard: bool) -> None:
        if any(finding.damage is Damage.FOREIGN for finding in plan.findings):
            self.stdout.write(
                "The store holds another log. If it belongs to another installation, stop here and set "
                "VOTE_LOG_PREFIX or the store's address to yours."
            )
        rebuilt = [str(finding.partition) for finding in plan.findings if finding.rebuilt]
        if rebuilt:
            self.stdout.write(
                f"Partition {', '.join(rebuilt)} will be emptied and rebuilt from the database."
            )
        if discard and (plan.uncounted != 0 or plan.missing):
            self.stdout.write("The uncounted ballots will be LOST.")
        confirm("Go on? [y/N] ")

    def carry_out(self, plan: Plan, discard: bool) -> Restored:
        with progress_bar(self.console, "Restoring claims", reconcile.claims_to_restore()) as advance:
            return reconcile.reconcile(plan, discard_uncounted=discard, restored=advance)

    def advice(self, error: ReconcileRefused) -> str:
        if "missing" in error.extra:
            return (
                "\nRestore a newer copy of the database if there is one (a later backup, a replica). "
                "Otherwise --discard-uncounted gives these ballots up. Their voters keep their claims, and "
                "can't vote again."
            )
        if "uncounted" not in error.extra:
            return ""
        return (
            "\nIf the old log can be brought back (start it, or set VOTE_LOG and VOTE_LOG_PARTITIONS back), "
            "do so and let the workers count. Otherwise --discard-uncounted gives these ballots up."
        )

    def report(self, plan: Plan, done: Restored) -> None:
        for finding in plan.findings:
            if finding.damage is Damage.GAP:
                self.stdout.write(
                    f"Partition {finding.partition}: {finding.position - finding.counted} entries are lost, "
                    "in the database and in the log. Counting goes on after them."
                )
        self.stdout.write(
            f"Restored {done.claims} claims and {done.gates} gates. Ballots are accepted again."
        )
        if done.stragglers:
            self.stderr.write(
                f"Meanwhile {done.stragglers} ballots were accepted into the old log, by a server that still "
                "runs with the old settings. Stop it. The old log was kept as it is."
            )
