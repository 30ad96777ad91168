"""`python -m benchmarks.targets.fill CODE COUNT`, in a system's environment: fill a poll with ballots.

Ballots take the usual path without HTTP: they are appended to the vote log with a claim, and counted into
ledger and tally by this process and the system's workers in parallel.
"""

from __future__ import annotations

import os
import sys

import django

CALL = 2_000  # ballots per append
LOOK = 100_000  # ballots after which this process counts, to keep the log short


def fill(code: str, count: int) -> None:
    from analytics.counting import batches  # noqa: PLC0415  # models can only be imported once Django is ready
    from polls.methods.plurality import encode  # noqa: PLC0415
    from polls.models import Poll  # noqa: PLC0415
    from polls.votelog import expected_heads, get_log  # noqa: PLC0415
    from polls.votelog.admission import NewBallot  # noqa: PLC0415

    poll, log = Poll.objects.get(code=code), get_log()
    selections = [encode([number]) for number in poll.choices.values_list("number", flat=True)]
    for done in range(0, count, CALL):
        size = min(CALL, count - done)
        random = os.urandom(32 * size)
        new = [
            NewBallot(
                poll_id=poll.pk, voter_key=random[at : at + 16], ballot_id=random[at + 16 : at + 32],
                selection=selections[at // 32 % len(selections)], round=poll.round,
            )
            for at in range(0, 32 * size, 32)
        ]  # fmt: skip
        refused = [
            outcome.code for outcome in log.append(new, expected_heads()) if outcome.code != "accepted"
        ]
        if refused:
            raise RuntimeError(f"{len(refused)} ballots were not accepted: {refused[0]}")
        if (done + CALL) % LOOK == 0 or done + CALL >= count:
            for partition in range(log.partitions):
                batches.count_partition(partition)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    fill(sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
