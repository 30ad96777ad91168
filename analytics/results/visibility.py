"""Decides who may see a tally. No other module decides it."""

import enum

from polls.models import State, Visibility


class Viewer(enum.Enum):
    """The kinds of viewers that see different results."""

    PUBLIC = "public"
    VOTED = "voted"
    STAFF = "staff"


def may_see(state: str, results_visible: str, viewer: Viewer) -> bool:
    """Return whether a viewer may see the tally. The poll's stored state decides it, never a clock.

    Publishing doesn't show results that are for staff only. Changing `results_visible` does.
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
