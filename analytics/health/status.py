"""The status of the vote log and of counting, for the admin and the metrics."""

from typing import Any

from analytics.counting import held_ballots
from analytics.health import heartbeats
from analytics.models import Checkpoint, Halt, Pulse
from polls.models import DeadLetter
from polls.votelog import get_log


def status() -> dict[str, Any]:
    """Return backlog by partition, workers, sweep, dead letters and whether the log is consistent."""
    return {**log_status(), **counting_status()}


def log_status() -> dict[str, Any]:
    """Return the backlog, and whether the log is the one that was counted from. Raises if it is down."""
    heads = get_log().heads()
    partitions = []
    for row in Checkpoint.objects.order_by("partition"):
        head = heads.get(row.partition)
        partitions.append(
            {
                "partition": row.partition,
                "counted": row.position,
                "appended": head.position if head else None,
                "backlog": max(0, head.position - row.position) if head else None,
                "consistent": head is not None
                and head.continues(row.generation, row.position)
                and not head.trimmed_past(row.position),
            }
        )
    return {
        "log": get_log().name,
        "partitions": partitions,
        "backlog": sum(row["backlog"] or 0 for row in partitions),
        "consistent": all(row["consistent"] for row in partitions),
    }


def counting_status() -> dict[str, Any]:
    """Return workers, sweep, dead letters and halted polls, from the database alone."""
    swept = Pulse.objects.filter(name="sweep").values_list("seen_at", flat=True).first()
    return {
        "workers": heartbeats.workers(),
        "swept_at": swept,
        "sweeping": heartbeats.sweep_alive(),
        "dead_letters": DeadLetter.objects.filter(status=DeadLetter.Status.WAITING).count(),
        "halted": Halt.objects.count(),
        "held": held_ballots.count_ballots(),
    }
