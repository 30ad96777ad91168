"""A poll in each state, for tests that compare ways to answer."""

from datetime import timedelta

from django.utils import timezone

from polls import drafts, lifecycle
from polls.models import Poll
from tests.polls.api_client import make_poll

STATES = (
    "draft",
    "open",
    "multiple",
    "revote",
    "planned",
    "closing",
    "closed",
    "published",
    "reset",
    "edited",
)


def make_poll_in(state: str, **fields: object) -> Poll:
    poll = make_poll(
        *"ABCDE",
        method="multiple" if state == "multiple" else "single",
        revote=state == "revote",
        opens_at=timezone.now() + timedelta(hours=1) if state == "planned" else None,
        **({"min_selections": 2, "max_selections": 3} if state == "multiple" else {}),
        **fields,
    )
    if state in ("draft", "planned"):
        return poll
    lifecycle.open_poll(poll.pk)
    if state in ("open", "multiple", "revote"):
        return poll
    if state in ("closing", "closed", "published"):
        lifecycle.close_poll(poll.pk)
    if state in ("closed", "published"):
        count()
    if state == "published":
        lifecycle.publish_poll(poll.pk)
    if state in ("reset", "edited"):
        lifecycle.reset_poll(poll.pk)
    if state == "edited":
        drafts.change_poll(poll.pk, choices=["B", "C", "X"])
        lifecycle.open_poll(poll.pk)
    return poll


def count() -> None:
    """Count the vote log, which closes the polls that are closing."""
    from analytics.counting import batches, closing
    from polls.votelog import get_log

    for partition in range(get_log().partitions):
        batches.count_partition(partition)
    closing.close_counted_polls()
