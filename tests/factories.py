"""Make polls, voters and ballots for tests, count ballots, and check that ledger and tally agree."""

import json
import uuid
from collections import Counter
from typing import Any

from django.db.models import Sum

from analytics.counting import batches
from analytics.models import Tally, TallyPoint
from analytics.results.tallies import BALLOTS, QUARANTINED
from polls import drafts, lifecycle
from polls.casting.cast import cast_and_wait
from polls.casting.request import CastRequest
from polls.methods.plurality import encode
from polls.models import Ballot, Poll
from polls.votelog import expected_heads, get_log
from polls.votelog.admission import NewBallot, Outcome
from polls.votelog.entries import Block, Entry
from polls.voters import identity

Counts = dict[tuple[int, str], int]  # (round, key) -> count


def make_poll(choices: int = 3, **fields: Any) -> Poll:
    labels = [f"Choice {number}" for number in range(1, choices + 1)]
    return drafts.create_poll(labels, **{"question": "Which one?", "method": "single"} | fields)


def open_poll(**fields: Any) -> Poll:
    return lifecycle.open_poll(make_poll(**fields).pk)


def request(poll: Poll, selections: Any, cookie: str | None = None, **body: Any) -> CastRequest:
    """Return a cast as a page sends it, by the voter with this cookie or by a new voter."""
    content = json.dumps({"selections": selections, **body}).encode()
    return CastRequest(
        poll.code, content, "application/json", "testserver", cookie=cookie or identity.new_cookie()
    )


def cast(poll: Poll, selections: Any, cookie: str | None = None, **body: Any) -> tuple[int, dict[str, Any]]:
    """Cast through the ballot box. Return the answer's status and document."""
    answer = cast_and_wait(request(poll, selections, cookie, **body))
    return answer.status, json.loads(answer.body)


def new_ballot(poll: Poll, voter: int, *selection: int, **fields: Any) -> NewBallot:
    """Return a ballot of voter number `voter`, ready for the vote log."""
    fields = {"round": poll.round, "ballot_id": uuid.uuid4().bytes} | fields
    return NewBallot(poll.pk, voter.to_bytes(16, "big"), selection=encode(selection), **fields)


def append(*ballots: NewBallot) -> list[Outcome]:
    """Append to the vote log directly."""
    return get_log().append(ballots, expected_heads(max_age=0))


def fill(poll: Poll, voters: range, *selection: int) -> list[NewBallot]:
    """Append one ballot of each of these voters, and check that all are accepted."""
    ballots = [new_ballot(poll, voter, *(selection or [1 + voter % 2])) for voter in voters]
    assert {outcome.code for outcome in append(*ballots)} <= {"accepted"}
    return ballots


def revote(poll: Poll, before: NewBallot, *selection: int) -> NewBallot:
    """Append a ballot that replaces `before`, and check that it is accepted."""
    voter = int.from_bytes(before.voter_key, "big")
    ballot = new_ballot(poll, voter, *selection, replaces=before.ballot_id)
    assert [outcome.code for outcome in append(ballot)] == ["accepted"]
    return ballot


def alone(entry: Entry) -> Block:
    """Return the block of an entry that was appended alone."""
    where = (entry.position, entry.kind, entry.poll_id, entry.round, entry.at)
    if entry.kind == "close":
        return Block(*where)
    replaces = [entry.replaces] if entry.replaces else None
    return Block(*where, [entry.voter_key], [entry.ballot_id], [entry.selection], replaces)


def count() -> int:
    return sum(batches.count_partition(partition) or 0 for partition in range(get_log().partitions))


def recount(poll: Poll) -> Counts:
    """Count the ledger ballot by ballot. The tally must equal this."""
    counts: Counter[tuple[int, str]] = Counter()
    ballots = Ballot.objects.filter(poll_id=poll.pk)
    for round_, selection, apart in ballots.values_list("round", "selection", "quarantine_id"):
        prefix = "" if apart is None else QUARANTINED
        counts.update((round_, prefix + key) for key in [BALLOTS, *selection.split(",")])
    return dict(counts)


def tallied(poll: Poll, table: type[Tally] | type[TallyPoint] = Tally) -> Counts:
    rows = table.objects.filter(poll_id=poll.pk).values_list("round", "key").annotate(sum=Sum("count"))
    return {(round_, key): int(total) for round_, key, total in rows if total}


def check_books(poll: Poll) -> Counts:
    """Check that the tally equals a recount and the sum of its history. Return the tally."""
    tally = tallied(poll)
    assert tally == recount(poll)
    first = {where: count for where, count in tally.items() if not where[1].startswith(QUARANTINED)}
    assert first == tallied(poll, TallyPoint)
    return tally


def version(poll: Poll) -> int:
    total = Tally.objects.filter(poll_id=poll.pk, round=poll.round).aggregate(sum=Sum("changes"))["sum"]
    return int(total or 0)
