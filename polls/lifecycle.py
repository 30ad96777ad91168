"""Open, close, publish and reset polls. No other code changes a poll's state.

Each step first commits the intent, then sets the vote log's gates, which is idempotent. If a crash or an
unreachable store prevents this, `set_missing_gates` does it later. Only the gate decides whether a ballot is
in time.

    draft → open → closing → closed → published, and reset to draft of the next round
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from polls.audit_log import COMMAND, SCHEDULE, record
from polls.votelog.admission import Gate
from polls.votelog.entries import Marker

from . import keys
from .errors import IllegalState, LandslideError, PollNotFound
from .methods import get_method
from .models import Poll, Round, State, Visibility
from .signals import ballots_appended, poll_changed
from .votelog import expected_heads, get_log, store_clock

logger = logging.getLogger(__name__)

#: How long `publish_poll` waits for the last ballots to be counted before it refuses.
PUBLISH_WAIT_SECONDS = 5.0

#: PostgreSQL stores a round as a signed smallint.
MAX_ROUNDS = 32_767


def open_poll(poll_id: int, by: str = COMMAND) -> Poll:
    """Start accepting ballots. Raise IllegalState unless the poll is a draft with valid rules."""
    now = _now()

    def step(poll: Poll) -> None:
        _require_state(poll, State.DRAFT)
        try:
            get_method(poll.method).check_rules(poll.method_rules())
        except ValueError as error:
            raise IllegalState(str(error)) from None
        if poll.closes_at and poll.closes_at <= now:
            raise IllegalState(_("The closing time has passed; change or clear it first."))
        poll.state, poll.closed_at, poll.published_at = State.OPEN, None, None
        poll.secret_key_fingerprint = keys.newest_fingerprint()  # SECRET_KEY may be newer than the draft
        if poll.opens_at is None or poll.opens_at > now:
            poll.opens_at = now
        Round.objects.create(
            poll=poll, number=poll.round, opened_at=now, question=poll.question, rules=_frozen_rules(poll)
        )

    return _take_step(poll_id, step, by, "poll opened")


def close_poll(poll_id: int, by: str = COMMAND) -> Poll:
    """Stop accepting ballots. The poll is `closing` until every accepted ballot is counted, then `closed`."""

    def step(poll: Poll) -> None:
        _require_state(poll, State.OPEN)
        poll.state = State.CLOSING

    return _take_step(poll_id, step, by, "poll closed")


def finish_closing(poll_id: int, round_number: int, closed_at: int, result: dict[str, Any]) -> None:
    """Move a poll from closing to closed. The counting transaction calls this when all markers are counted.

    closed_at: milliseconds since the epoch, by the vote log's clock. result: the final tally.
    """
    poll = Poll.objects.select_for_update().get(pk=poll_id)
    if (poll.state, poll.round) != (State.CLOSING, round_number):
        return
    poll.state = State.CLOSED
    poll.closed_at = datetime.fromtimestamp(closed_at / 1000, UTC)
    poll.revision += 1
    poll.gates_set = True  # the markers were written when the gates closed
    poll.save(update_fields=["state", "closed_at", "revision", "gates_set"])
    Round.objects.filter(poll=poll, number=round_number).update(closed_at=poll.closed_at, result=result)
    transaction.on_commit(lambda: _send_poll_changed(poll_id))


def publish_poll(poll_id: int, by: str = COMMAND) -> Poll:
    """Make the result official. If the poll is closing, wait a moment for the last ballots."""
    deadline = time.monotonic() + PUBLISH_WAIT_SECONDS
    closing = Poll.objects.filter(pk=poll_id, state=State.CLOSING)
    while closing.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    now = _now()

    def step(poll: Poll) -> None:
        if poll.state == State.CLOSING:
            raise IllegalState(_("The last ballots are still being counted; try again in a moment."))
        _require_state(poll, State.CLOSED)
        poll.state, poll.published_at = State.PUBLISHED, now

    return _take_step(poll_id, step, by, "poll published", gates=False)


def reset_poll(poll_id: int, by: str = COMMAND) -> Poll:
    """Start a new round, as a draft. Ballots of the old round stay counted in that round."""
    now = _now()

    def step(poll: Poll) -> None:
        _require_state(poll, State.OPEN, State.CLOSED, State.PUBLISHED)
        if poll.round == MAX_ROUNDS:
            raise IllegalState(_("The poll can't have more rounds; create a new poll."))
        ending = Round.objects.filter(poll=poll, number=poll.round)
        ending.filter(closed_at=None).update(closed_at=now)
        if poll.results_visible != Visibility.STAFF:
            ending.update(made_public_at=poll.published_at)
        poll.state = State.DRAFT
        poll.round += 1
        poll.epoch += 1
        poll.secret_key_fingerprint = keys.newest_fingerprint()
        poll.opens_at = poll.closes_at = poll.closed_at = poll.published_at = None

    return _take_step(poll_id, step, by, "poll reset")


#: The steps by name. Each takes a poll's id and the actor for the audit log.
STEPS: dict[str, Callable[[int, str], Poll]] = {
    "open": open_poll,
    "close": close_poll,
    "publish": publish_poll,
    "reset": reset_poll,
}


def next_steps(poll: Poll) -> list[str]:
    """Return the steps that the poll's state allows, in the order in which they usually happen."""
    allowed: dict[str, list[str]] = {
        State.DRAFT: ["open"],
        State.OPEN: ["close", "reset"],
        State.CLOSING: [],
        State.CLOSED: ["publish", "reset"],
        State.PUBLISHED: ["reset"],
    }
    return allowed[poll.state]


def run_due_steps() -> list[int]:
    """Open and close polls that are due by `opens_at` or `closes_at`; return the ids of the changed polls."""
    planned = Q(state=State.DRAFT, opens_at__isnull=False) | Q(state=State.OPEN, closes_at__isnull=False)
    if not Poll.objects.filter(planned).exists():
        return []
    now = _store_now()
    opening = Poll.objects.filter(state=State.DRAFT, opens_at__lte=now).exclude(closes_at__lte=now)
    closing = Poll.objects.filter(state=State.OPEN, closes_at__lte=now)
    due = [(pk, open_poll) for pk in opening.values_list("pk", flat=True)]
    due += [(pk, close_poll) for pk in closing.values_list("pk", flat=True)]
    moved = []
    for poll_id, step in due:
        try:
            step(poll_id, SCHEDULE)
            moved.append(poll_id)
        except LandslideError as error:
            # Another process took the step first, or the poll can't be opened. The admin shows the reason.
            logger.warning("scheduled_step_refused", extra={"poll": poll_id, "reason": error.detail})
        except Exception:
            # A failure in one poll must not delay the others.
            logger.exception("scheduled_step_failed", extra={"poll": poll_id})
    return moved


def _store_now() -> datetime:
    """Return the time by the vote log's clock, which its gates use; the host's clock may be wrong."""
    return datetime.fromtimestamp(get_log().clock() / 1000, UTC)


def _now() -> datetime:
    """Return the vote log's time, or our estimate of it, since manual steps must work while the log is down.

    No ballot is accepted before the log is back and the gates are set.
    """
    return datetime.fromtimestamp(store_clock() / 1000, UTC)


def set_missing_gates() -> None:
    """Set the gates that a step couldn't set, because of a crash or an unreachable vote log."""
    for poll in Poll.objects.filter(gates_set=False):
        _set_gates(poll)


def closing_markers(poll: Poll) -> list[Marker]:
    """Close the poll's round in the vote log; return its marker in each partition. Idempotent."""
    return get_log().close(poll.pk, poll.round)


def _frozen_rules(poll: Poll) -> dict[str, Any]:
    rules = poll.method_rules()
    frozen: dict[str, Any] = {
        "method": poll.method,
        "numbers": sorted(rules.numbers),
        "least": rules.min_selections,
        "most": rules.max_selections,
        "revote": poll.revote,
        "identity": poll.identity,
    }
    if poll.config:
        frozen["config"] = poll.config
    # Copy the release step into the round, so that counting needn't read the poll.
    return frozen | {"step": poll.release_step} if poll.release_step > 1 else frozen


def lock_poll(poll_id: int) -> Poll:
    """Return the poll, locked until the transaction ends; raise PollNotFound."""
    try:
        return Poll.objects.select_for_update().get(pk=poll_id)
    except Poll.DoesNotExist:
        raise PollNotFound() from None


def _require_state(poll: Poll, *states: State) -> None:
    if poll.state not in states:
        raise IllegalState(
            _("The poll is %(state)s; this needs it to be %(needed)s.")
            % {"state": poll.get_state_display(), "needed": " / ".join(str(s.label) for s in states)},
            state=poll.state,
        )


def _take_step(
    poll_id: int, step: Callable[[Poll], None], by: str, action: str, *, gates: bool = True
) -> Poll:
    """Apply `step` to the poll and commit, then set the gates and tell the apps above."""
    # durable=True, because if an outer transaction rolled the step back, the gates would stay wrong.
    with transaction.atomic(durable=True):
        poll = lock_poll(poll_id)
        step(poll)
        poll.revision += 1
        poll.gates_set = not gates
        poll.save()
        record(by, action, poll.code, round=poll.round)
    if gates:
        _set_gates(poll)
    _send_poll_changed(poll_id)
    return poll


def _set_gates(poll: Poll) -> None:
    try:
        expected_heads()  # creates the log if there is none yet: gates live in its partitions
        log = get_log()
        if poll.state == State.OPEN:
            closes_at = int(poll.closes_at.timestamp() * 1000) if poll.closes_at else 0
            expected = poll.expected_turnout or 0
            gate = Gate(poll.round, open=True, revote=poll.revote, closes_at=closes_at, expected=expected)
            log.open(poll.pk, gate)
        elif poll.state == State.DRAFT:
            log.reset(poll.pk, poll.round)
        else:
            markers = log.close(poll.pk, poll.round)
            # Have the markers counted now, without waiting for the sweep. Counting the markers closes the
            # poll.
            ballots_appended.send_robust(sender=None, partitions={marker.partition for marker in markers})
    except Exception:
        # The step is committed; `set_missing_gates` tries again.
        logger.exception("gates_not_set", extra={"poll": poll.pk})
        return
    # If a newer step was committed meanwhile, it sets its own gates.
    Poll.objects.filter(pk=poll.pk, revision=poll.revision).update(gates_set=True)
    poll.gates_set = True


def bump_revision(poll_id: int) -> None:
    """Increment the poll's revision and tell viewers. Used for changes other than votes or state."""
    Poll.objects.filter(pk=poll_id).update(revision=F("revision") + 1)
    transaction.on_commit(lambda: _send_poll_changed(poll_id))


def _send_poll_changed(poll_id: int) -> None:
    # send_robust, because the step is committed: an error in a receiver must not make it fail.
    poll_changed.send_robust(sender=Poll, poll_id=poll_id)
