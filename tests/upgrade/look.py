"""Upgrade the stores, count the remaining ballots, and print what becomes of all of them, as JSON."""

import json
import os
import sys
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.core.management import call_command  # noqa: E402

from analytics.audit import recount  # noqa: E402
from analytics.counting import batches, closing  # noqa: E402
from analytics.results import documents, tallies  # noqa: E402
from polls import lifecycle  # noqa: E402
from polls.casting.receipts import receipt_status  # noqa: E402
from polls.models import DeadLetter, Poll  # noqa: E402
from polls.votelog import expected_heads, get_log  # noqa: E402
from polls.votelog.admission import NewBallot  # noqa: E402


def count() -> int:
    return sum(batches.count_partition(partition) or 0 for partition in range(get_log().partitions))


def append(poll: Poll, voter: int, ballot_id: int, selection: str) -> tuple[str, bool]:
    """Append a ballot; return the outcome's code, and whether the log knew the ballot."""
    key, id_ = voter.to_bytes(16, "big"), ballot_id.to_bytes(16, "big")
    ballot = NewBallot(poll.pk, key, selection=selection, round=1, ballot_id=id_)
    (outcome,) = get_log().append([ballot], expected_heads(max_age=0))
    return outcome.code, outcome.repeated


def main(receipts: dict[str, str]) -> dict[str, Any]:
    call_command("migrate", verbosity=0)  # `manage.py migrate` would refuse SQLite beside Redis
    before = {name: receipt_status(receipt)["status"] for name, receipt in receipts.items()}
    counted = count()
    going, done = Poll.objects.get(code="GOING"), Poll.objects.get(code="DONE")
    appended = {
        "again": append(going, 2, 1000 * going.pk + 2, "1"),
        "twice": append(going, 3, 1, "1"),
        "new": append(going, 99, 2, "1"),
    }
    count()
    shown = documents.figures(tallies.snapshot_of("GOING"))
    drifted = [recount.recount(poll.rounds.get()).drifted for poll in (going, done)]
    lifecycle.close_poll(going.pk)
    count()
    closing.close_counted_polls()
    return {
        "before": before,
        "after": {name: receipt_status(receipt)["status"] for name, receipt in receipts.items()},
        "counted": counted,
        "appended": appended,
        "ballots": shown["ballots"],
        "votes": [choice["votes"] for choice in shown["choices"]],
        "quarantined": [choice["votes"] for choice in shown["quarantined"]["choices"]],
        "dead_letters": sorted(DeadLetter.objects.values_list("selection", flat=True)),
        "drifted": sum(map(len, drifted)),
        "done": [choice["votes"] for choice in done.rounds.get().result["choices"]],
        "states": [Poll.objects.get(code=code).state for code in ("GOING", "DONE")],
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
