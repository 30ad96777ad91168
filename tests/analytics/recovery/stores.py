"""Voters, and vote logs that can be emptied, copied and repaired, for tests of recovery."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import redis
from django.core.management import call_command

from analytics.counting import batches, closing
from analytics.models import Tally
from analytics.results import documents, tallies
from polls import drafts, lifecycle, votelog
from polls.casting.cast import cast_and_wait
from polls.casting.request import CastRequest
from polls.models import Ballot, Claim, DeadLetter, LogEntry, LogGate, LogHead, Poll
from polls.votelog import get_log
from polls.voters import identity


def use(settings: Any, name: str, partitions: int = 4) -> None:
    """Change the settings, as a restart does."""
    settings.VOTE_LOG, settings.VOTE_LOG_PARTITIONS = name, partitions
    votelog.forget_log()


class Voter:
    """A voter with a browser in one poll."""

    def __init__(self, poll: Poll) -> None:
        self.code, self.cookie = poll.code, identity.new_cookie()
        self.ballot_id = str(uuid.uuid4())

    def cast(self, selection: list[int], **fields: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps({"selections": selection, "ballot_id": self.ballot_id} | fields).encode()
        answer = cast_and_wait(CastRequest(self.code, body, "application/json", "", cookie=self.cookie))
        return answer.status, json.loads(answer.body)


def open_poll(**fields: Any) -> Poll:
    poll = drafts.create_poll(["Ant", "Bee", "Cat"], question="Which one?", **fields)
    return lifecycle.open_poll(poll.pk)


def voted(poll: Poll, how_many: int = 12, count: bool = True) -> list[tuple[Voter, dict[str, Any]]]:
    cast = []
    for n in range(how_many):
        voter = Voter(poll)
        status, answer = voter.cast([1 + n % 3])
        assert status == 202, answer
        cast.append((voter, answer))
    if count:
        count_all()
    return cast


def count_all() -> None:
    for partition in range(get_log().partitions):
        batches.count_partition(partition)
    closing.close_counted_polls()


def figures(poll: Poll) -> Any:
    poll = Poll.objects.get(pk=poll.pk)
    return documents.document(tallies.snapshot(poll), visible=True)


def state_of_the_count() -> Any:
    return sorted(Ballot.objects.values_list()), sorted(Tally.objects.values_list())


def empty(backend: str) -> None:
    """Empty the store, as after a restart without its data."""
    if backend == "redis":
        client().flushall()
    else:
        for table in (LogEntry, Claim, LogGate, LogHead):
            table.objects.all().delete()


def client() -> redis.Redis:
    from django.conf import settings

    return redis.Redis.from_url(settings.VOTE_LOG_REDIS_URL)


def copy_of(backend: str) -> Callable[[], None]:
    """Back up the log's store. Return a function that restores the copy."""
    if backend == "redis":
        with client() as store:
            dump = {key: store.dump(key) for key in store.scan_iter("landslide:{*")}

        def put_back() -> None:
            empty("redis")
            with client() as store:
                for key, value in dump.items():
                    store.restore(key, 0, value)
    else:
        rows = {table: list(table.objects.all()) for table in (LogEntry, Claim, LogGate, LogHead)}

        def put_back() -> None:
            empty("database")
            for table, kept in rows.items():
                table.objects.bulk_create(kept)

    return put_back


def repair(**options: Any) -> str:
    call_command("reconcile_log", yes=True, **options)
    votelog.forget_log()  # other processes read the new checkpoints within a second


def assert_as_before(poll: Poll, cast: list[tuple[Voter, dict[str, Any]]]) -> None:
    """Check that counted voters get the same receipt, new ones are counted, and nothing counted changes."""
    before = state_of_the_count()
    for voter, answer in cast:
        selection = [1 + cast.index((voter, answer)) % 3]
        assert voter.cast(selection) == (202, answer)
        status, refused = voter.cast(selection, ballot_id=str(uuid.uuid4()))
        assert (status, refused["code"]) == (409, "already_voted")
    count_all()
    assert state_of_the_count() == before
    ballots = figures(poll)["ballots"]
    voted(poll, 8)
    assert figures(poll)["ballots"] == ballots + 8
    assert not DeadLetter.objects.exists()
