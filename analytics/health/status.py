"""The status of the vote log and of counting, for the admin and the metrics."""

from typing import Any

from analytics.counting import held_ballots
from analytics.health import heartbeats
from analytics.models import Checkpoint, Halt
from polls.models import DeadLetter
from polls.votelog import get_log


def log_status() -> dict[str, Any]:
    """Return the backlog, and whether the database counts from this log. Raise if the log is down."""
    heads = get_log().heads()
    found = [(row, heads.get(row.partition)) for row in Checkpoint.objects.order_by("partition")]
    backlogs = {row.partition: max(0, head.position - row.position) if head else 0 for row, head in found}
    return {
        "log": get_log().name,
        "backlogs": backlogs,
        "backlog": sum(backlogs.values()),
        "consistent": all(head and head.was_counted(row.generation, row.position) for row, head in found),
    }


def counting_status() -> dict[str, Any]:
    """Return workers, sweep, dead letters and halted polls, from the database alone."""
    swept_at, sweeping = heartbeats.last_sweep()
    return {
        "workers": heartbeats.workers(),
        "swept_at": swept_at,
        "sweeping": sweeping,
        "dead_letters": DeadLetter.objects.filter(status=DeadLetter.Status.WAITING).count(),
        "halted": Halt.objects.count(),
        "held": held_ballots.count_ballots(),
    }
