"""Who may see a tally."""

from __future__ import annotations

import enum

from polls.models import State, Visibility


class Viewer(enum.Enum):
    """Who is looking, as far as results are concerned."""

    PUBLIC = "public"
    VOTED = "voted"
    STAFF = "staff"


def may_see(state: str, results_visible: str, viewer: Viewer) -> bool:
    """The one decision on who sees a tally, from the stored state and never from a clock.

    Staff-only results stay so when they are published; who wants them public changes
    `results_visible`.
    """
    if viewer is Viewer.STAFF:
        return True
    ended = state in (State.CLOSED, State.PUBLISHED)
    match results_visible:
        case Visibility.ALWAYS:
            return True
        case Visibility.AFTER_VOTE:
            return ended or viewer is Viewer.VOTED
        case Visibility.AFTER_CLOSE:
            return ended
    return False
