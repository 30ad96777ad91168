"""The public document of a poll. This document is the tally document without the figures."""

from datetime import datetime
from typing import Any

from polls.methods import get_method
from polls.models import Poll, State


def poll_document(poll: Poll) -> dict[str, Any]:
    """Return the poll as anybody may see it. Nothing depends on a vote, and a draft's texts are left out."""
    shown = poll.state != State.DRAFT
    return {
        "poll": poll.code,
        "round": poll.round,
        "epoch": poll.epoch,
        "revision": poll.revision,
        "state": poll.state,
        "method": poll.method,
        "question": poll.question if shown else "",
        "min_selections": poll.min_selections,
        "max_selections": poll.max_selections,
        **({"config": poll.config if shown else _without_texts(poll)} if poll.config else {}),
        "revote": poll.revote,
        "results_visible": poll.results_visible,
        "release_step": poll.release_step,
        "identity": poll.identity,
        "opens_at": iso(poll.opens_at),
        "closes_at": iso(poll.closes_at),
        "closed_at": iso(poll.closed_at),
        "choices": [{"number": c.number, "label": c.label} for c in poll.choices.all()] if shown else [],
    }


def _without_texts(poll: Poll) -> dict[str, Any]:
    """Return the poll's config with its texts empty. The names of a method's options aren't such texts."""
    options = get_method(poll.method).config_values
    return {
        name: "" if isinstance(value, str) and value not in options else value
        for name, value in poll.config.items()
    }


def iso(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
