"""A helper process with Landslide's code that carries out commands of `benchmarks.orders`.

The process opens polls, appends ballots to the vote log as a web process would, and counts them. The measured
web process doesn't spend time on accepting these ballots.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator
from typing import Any

from benchmarks.orders import obey

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import (  # noqa: E402
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402

from analytics.counting import batches  # noqa: E402
from polls import drafts, lifecycle  # noqa: E402
from polls.methods.plurality import encode  # noqa: E402
from polls.models import Identity, Poll  # noqa: E402
from polls.signals import ballots_appended  # noqa: E402
from polls.votelog import expected_heads, get_log  # noqa: E402
from polls.votelog.admission import NewBallot  # noqa: E402
from polls.votelog.entries import partition_of  # noqa: E402
from polls.voters import invites  # noqa: E402

LABELS = ["Lisbon", "Helsinki", "Montréal", "Nairobi", "Kyoto"]
_APPEND = 256  # the maximum number of ballots per append


class Inside:
    def __init__(self) -> None:
        self.polls: dict[str, Poll] = {}

    def do_migrate(self) -> dict[str, Any]:
        call_command("migrate", verbosity=0)
        return {}

    def do_open_poll(self, **fields: Any) -> dict[str, Any]:
        made = drafts.create_poll(LABELS, **{"question": "Where should we meet next year?"} | fields)
        poll = lifecycle.open_poll(made.pk)
        self.polls[poll.code] = poll
        return {"code": poll.code}

    def do_invite(self, count: int) -> dict[str, Any]:
        """Open a poll by invitation. Return its code and invites."""
        poll = self.polls[self.do_open_poll(identity=Identity.INVITE)["code"]]
        batch = invites.make_batch(poll.pk, count, by="bench")
        secret = bytes(poll.secret)
        serials = range(1, count + 1)
        tokens = [invites.make_token(poll.pk, secret, invites.Invite(batch.pk, each)) for each in serials]
        return {"code": poll.code, "tokens": tokens}

    def do_sign_in(self, count: int) -> dict[str, Any]:
        """Open a poll for people with an account. Return its code, and session keys of `count` accounts."""
        code = self.do_open_poll(identity=Identity.LOGIN)["code"]
        return {"code": code, "sessions": [_session() for _ in range(count)]}

    def do_feed(self, code: str, rate: float, seconds: float, every: float = 0.01) -> dict[str, Any]:
        """Append `rate` ballots a second on a fixed schedule.

        `cast` in the answer has pairs of a due time and the number of ballots due by then. Delays are counted
        from the due times, even if the append itself was late.
        """
        poll, done = self.polls[code], 0
        cast: list[tuple[float, int]] = []
        started = time.monotonic()
        step = max(every, 1 / rate)
        for number in range(1, round(seconds / step) + 1):
            due = started + number * step
            time.sleep(max(0.0, due - time.monotonic()))
            wanted = round(number * step * rate)
            self._append(poll, wanted - done)
            done = wanted
            cast.append((due, done))
        return {"cast": cast, "seconds": time.monotonic() - started}

    def do_fill(self, code: str, count: int) -> dict[str, Any]:
        """Append ballots at full speed, without waking a worker."""
        self._append(self.polls[code], count, wake=False)
        return {}

    def do_count(self) -> dict[str, Any]:
        """Count the whole log. Return entries, seconds, and this process's CPU seconds."""
        wall, cpu = time.monotonic(), time.process_time()
        counted = sum(batches.count_partition(partition) or 0 for partition in range(get_log().partitions))
        return {
            "counted": counted,
            "seconds": time.monotonic() - wall,
            "cpu": time.process_time() - cpu,
            "batch": settings.COUNT_BATCH,
        }

    def _append(self, poll: Poll, count: int, *, wake: bool = True) -> None:
        log = get_log()
        for size in _parts(count, _APPEND):
            ballots = [_new_ballot(poll) for _ in range(size)]
            outcomes = log.append(ballots, expected_heads())
            refused = {outcome.code for outcome in outcomes} - {"accepted"}
            if refused:
                raise RuntimeError(f"The log refused ballots: {refused}")
            if wake:
                touched = {partition_of(poll.pk, each.voter_key, log.partitions) for each in ballots}
                ballots_appended.send_robust(sender=None, partitions=touched)


def _parts(count: int, most: int) -> Iterator[int]:
    while count > 0:
        yield min(count, most)
        count -= most


def _session() -> str:
    """Sign a new account in, as Django's login does. Return the key of the session."""
    user = get_user_model()(username=uuid.uuid4().hex)
    user.set_unusable_password()
    user.save()
    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[-1]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def _new_ballot(poll: Poll) -> NewBallot:
    selection = encode((random.randint(1, len(LABELS)),))
    return NewBallot(poll.pk, os.urandom(16), uuid.uuid4().bytes, selection, poll.round)


if __name__ == "__main__":
    obey(Inside())
