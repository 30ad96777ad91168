"""Counting processes for test_counting_crash.py to kill.

`python -m tests.faults.counting_process` reads commands from its standard input, one per line, and casts,
counts and checks ballots. The command `die STEP TIMES` starts another process. That process counts until it
has reached STEP for the TIMES-th time, reports it and waits to be killed. It is forked from a process that
has imported all modules, since importing takes a second, but has opened no connection. The steps wrap the
product's functions from outside, so the product needs no code for them.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import IO, Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db.models import F  # noqa: E402

from analytics import tasks  # noqa: E402
from analytics.counting import batches, checkpoints, ledger, tally_deltas  # noqa: E402
from analytics.models import Checkpoint  # noqa: E402
from polls import lifecycle  # noqa: E402
from polls.models import Ballot, DeadLetter, Poll, Round  # noqa: E402
from polls.votelog import get_log  # noqa: E402
from polls.votelog.admission import NewBallot  # noqa: E402
from tests.factories import append, check_books, count, fill, new_ballot, open_poll  # noqa: E402
from tests.servers import dying_with_us  # noqa: E402


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


class Keeper:
    """Remember every acknowledged ballot, and compare the ledger with them."""

    def __init__(self) -> None:
        call_command("migrate", verbosity=0)
        self.voters = 0
        self.open()

    def open(self) -> None:
        self.poll = open_poll(revote=True)
        self.acknowledged: dict[bytes, NewBallot] = {}
        self.unreadable = 0

    def cast(self) -> None:
        """Let 40 voters vote and ten of them change their ballot. Another ballot has an invalid selection."""
        ballots = fill(self.poll, range(self.voters, self.voters + 40))
        ballots += [
            new_ballot(self.poll, self.voters + number, 3, replaces=ballots[number].ballot_id)
            for number in range(10)
        ]
        outcomes = append(*ballots[40:], new_ballot(self.poll, self.voters + 40, 77))
        assert {outcome.code for outcome in outcomes} == {"accepted"}
        self.acknowledged |= {ballot.voter_key: ballot for ballot in ballots}
        self.unreadable += 1
        self.voters += 41

    def close(self) -> None:
        lifecycle.close_poll(self.poll.pk)

    def wait_a_minute(self) -> None:
        noted = Checkpoint.objects.exclude(trim_noted_at=None)
        noted.update(trim_noted_at=F("trim_noted_at") - timedelta(minutes=1))

    def check(self) -> None:
        """Count the remaining ballots. Then none may be missing, counted twice or changed."""
        while checkpoints.backlog():
            count()  # repeated: the database may need a moment to release the dead process's lock
            time.sleep(0.02)
        ledger_now = {
            bytes(key): (bytes(ballot_id), selection)
            for key, ballot_id, selection in Ballot.objects.filter(poll_id=self.poll.pk).values_list(
                "voter_key", "ballot_id", "selection"
            )
        }
        assert ledger_now == {
            key: (ballot.ballot_id, ballot.selection) for key, ballot in self.acknowledged.items()
        }
        assert check_books(self.poll)[1, "ballots"] == len(self.acknowledged)
        assert DeadLetter.objects.filter(poll_id=self.poll.pk).count() == self.unreadable

    def check_closed(self) -> None:
        tasks.sweep()
        self.check()
        poll = Poll.objects.get(pk=self.poll.pk)
        assert poll.state == "closed", poll.state
        assert Round.objects.get(poll=poll).result["ballots"] == len(self.acknowledged)


def keep(to_die: IO[str]) -> None:
    keeper = Keeper()
    say(done="start")
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "die":
            print(*arguments, file=to_die, flush=True)
            continue
        try:
            getattr(keeper, order)()
        except Exception as failure:
            say(failed=order, why=repr(failure))
        else:
            say(done=order)


class Step:
    """The place at which this process waits to be killed, once it has been there `times` times."""

    def __init__(self, name: str, times: int) -> None:
        self._name = name
        self._left = times

    def reached(self) -> None:
        self._left -= 1
        if not self._left:
            say(reached=self._name)
            time.sleep(600)

    def before(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def reach_then_work(*args: Any, **options: Any) -> Any:
            self.reached()
            return work(*args, **options)

        return reach_then_work

    def after(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def work_then_reach(*args: Any, **options: Any) -> Any:
            result = work(*args, **options)
            self.reached()
            return result

        return work_then_reach


def die(name: str, times: int) -> None:
    step, log = Step(name, times), get_log()
    match name:
        case "before_the_batch":
            batches.count_blocks = step.before(batches.count_blocks)
        case "after_the_ledger":
            ledger.write = step.after(ledger.write)
        case "after_the_tally":
            tally_deltas.add = step.after(tally_deltas.add)
        case "before_the_commit":
            batches._move_checkpoint = step.after(batches._move_checkpoint)
        case "before_the_news":
            send = batches.tally_changed.send_robust
            batches.tally_changed.send_robust = step.before(send)  # type: ignore[method-assign]
        case "after_trimming":
            log.trim = step.after(log.trim)  # type: ignore[method-assign]
        case "within_closing":
            lifecycle.finish_closing = step.after(lifecycle.finish_closing)
        case _:
            raise ValueError(name)
    say(counting=name, pid=os.getpid())
    while True:
        count()
        say(survived=name)
        time.sleep(0.1)


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a forked process that ends with its parent. Return its pid."""
    if pid := os.fork():
        return pid
    die_with_parent = dying_with_us(signal.SIGKILL)
    if die_with_parent:
        die_with_parent()
    try:
        work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def fork_for_each(failpoints: IO[str]) -> None:
    """Fork a process for each line, and wait for its end before reading the next line."""
    for line in failpoints:
        name, times = line.split()
        _, status = os.waitpid(fork(partial(die, name, int(times))), 0)
        if not os.WIFSIGNALED(status):
            say(ended=name)


def main() -> None:
    reading, writing = os.pipe()

    def serve_forks() -> None:
        os.close(writing)
        fork_for_each(os.fdopen(reading))

    fork(serve_forks)  # before any connection is open, so that the processes don't share one
    os.close(reading)
    keep(os.fdopen(writing, "w"))


if __name__ == "__main__":
    main()
