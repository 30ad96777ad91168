"""Casting a ballot, from its request to its answer. All lanes use this code.

`cast` checks the request, prepares the ballot, queues it, and turns each error into its response.
Django's view calls `cast_and_wait`, which may read the database. The fast lanes call `LoopCasts.cast`, which
never blocks the event loop.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from django.conf import settings

from polls.casting import log_writer
from polls.casting.append_queue import Entry, Settled, deliver
from polls.casting.backpressure import Backpressure
from polls.casting.ballot_box import (
    RulesMayBeStale,
    accepted_response,
    error_response,
    prepare,
    prepare_with_fresh_rules,
)
from polls.casting.request import CastRequest, CastResponse, check_envelope
from polls.votelog.admission import NewBallot, Outcome
from polls.voters.poll_rules import PollRules, get_rules
from polls.voters.rules_loader import RulesLoader

#: Called once with the response to a cast.
Answer = Callable[[CastResponse], None]
#: Appends a ballot to the log, and gives the outcome, in a list, to the function.
Append = Callable[[NewBallot, Callable[[list[Outcome]], None]], None]


def cast(
    request: CastRequest,
    prepare: Callable[[], NewBallot],
    append: Append,
    answer: Answer,
    *,
    max_bytes: int,
) -> None:
    """Append the ballot that `prepare` makes, and answer. Errors are answers too, except RulesMayBeStale."""
    try:
        check_envelope(request, max_bytes)
        ballot = prepare()
        append(ballot, partial(_answer_outcome, request, ballot, answer))
    except RulesMayBeStale:
        raise
    except Exception as error:
        answer(error_response(error, request))


def _answer_outcome(request: CastRequest, ballot: NewBallot, answer: Answer, outcomes: list[Outcome]) -> None:
    try:
        response = accepted_response(ballot, outcomes[0])
    except Exception as error:
        response = error_response(error, request)
    answer(response)


def cast_and_wait(request: CastRequest) -> CastResponse:
    """Cast a ballot from a thread, and return once it is durable or refused."""
    answers: list[CastResponse] = []
    cast(
        request,
        lambda: prepare_with_fresh_rules(request, get_rules(request.code)),
        lambda ballot, settle: settle(log_writer.append_and_wait([ballot])),
        answers.append,
        max_bytes=settings.CAST_MAX_BYTES,
    )
    return answers[0]


class LoopCasts:
    """Casts the ballots that arrive on one event loop."""

    def __init__(self, loader: RulesLoader) -> None:
        self.loop = asyncio.get_running_loop()
        self.backpressure = Backpressure(self.loop)
        self._loader = loader
        self._max_bytes = settings.CAST_MAX_BYTES  # read once: reading a setting costs as much as a hash
        self._queue = log_writer.process_queue()
        self._flush_due = False
        self._deadline: asyncio.TimerHandle | None = None

    def cast(self, request: CastRequest, answer: Answer) -> None:
        """Cast a ballot. `answer` gets the response, now or later."""
        rules = self._loader.cached(request.code)
        with suppress(RulesMayBeStale):
            if rules is not None:
                self._cast(request, partial(prepare, request, rules), answer)
                return
        preparing = self.loop.create_task(self._prepare_by_database(request, rules))
        preparing.add_done_callback(lambda done: self._cast(request, done.result, answer))

    def _cast(self, request: CastRequest, prepare: Callable[[], NewBallot], answer: Answer) -> None:
        cast(request, prepare, self._append, answer, max_bytes=self._max_bytes)

    async def _prepare_by_database(self, request: CastRequest, rules: PollRules | None) -> NewBallot:
        if rules is None:
            rules = await self._loader.load(request.code)
            with suppress(RulesMayBeStale):
                return prepare(request, rules)
        return await self._loader.check(prepare_with_fresh_rules, request, rules)

    def _append(self, ballot: NewBallot, settle: Callable[[list[Outcome]], None]) -> None:
        self._queue.add(Entry((ballot,), settle, self))
        self.backpressure.enter()
        if not self._flush_due:
            # Flush at the end of this turn of the loop, so that all its casts are in the same append.
            self._flush_due = True
            self.loop.call_soon(self._flush)
        if self._deadline is None:
            self._deadline = self.loop.call_later(settings.CAST_DEADLINE_SECONDS, self._expire)

    def _flush(self) -> None:
        self._flush_due = False
        self._queue.wake()

    def _expire(self) -> None:
        left = self._queue.expire()
        self._deadline = None if left is None else self.loop.call_later(left, self._expire)

    def deliver(self, settled: Settled) -> None:
        self.backpressure.leave(len(settled))
        deliver(settled)
