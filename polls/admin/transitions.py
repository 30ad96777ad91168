"""Texts about lifecycle steps: on the button, in the confirmation, and afterwards."""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from polls import clock, drafts
from polls.errors import LandslideError
from polls.models import Poll, State, Visibility


@dataclass(frozen=True, slots=True)
class Step:
    """A lifecycle step's button. If `danger` is true, the page separates the button from the others."""

    name: str
    label: Any
    icon: str
    danger: bool = False


BUTTONS = {
    step.name: step
    for step in (
        Step("open", gettext_lazy("Open voting"), "play_arrow"),
        Step("close", gettext_lazy("Close voting"), "stop"),
        Step("publish", gettext_lazy("Publish the result"), "verified"),
        Step("reset", gettext_lazy("Reset"), "restart_alt", danger=True),
    )
}

#: The states in order, as shown above the form; `closing` lies between open and closed.
TRACK = (State.DRAFT, State.OPEN, State.CLOSED, State.PUBLISHED)


def track(poll: Poll) -> list[dict[str, Any]]:
    """Return the states of the lifecycle, with the place of each: behind the poll's state, here or ahead."""
    here = TRACK.index(State.CLOSED if poll.state == State.CLOSING else State(poll.state))
    return [
        {
            "state": poll.state if place == here else state,
            "label": _("Closing…") if place == here and poll.state == State.CLOSING else state.label,
            "place": "behind" if place < here else "here" if place == here else "ahead",
        }
        for place, state in enumerate(TRACK)
    ]


def title(step: str, poll: Poll) -> str:
    return {
        "open": _("Open this poll for voting?"),
        "close": _("Close voting?"),
        "publish": _("Publish the result?"),
        "reset": _("Reset this poll and start round %(round)s?") % {"round": poll.round + 1},
    }[step]


def consequences(step: str, poll: Poll) -> list[str]:
    """Return sentences about what the step will do."""
    return {"open": _opening, "close": _closing, "publish": _publishing, "reset": _resetting}[step](poll)


def _opening(poll: Poll) -> list[str]:
    lines = [
        _("Voters can cast their ballots at once."),
        _("The question, the choices and most rules can't be changed any more."),
        _("You can still change who sees the results."),
        _VISIBILITY_TEXTS[Visibility(poll.results_visible)],
    ]
    if poll.opens_at and poll.opens_at > clock.utc_now():
        lines.append(_("It was scheduled to open on %(time)s.") % {"time": local_time(poll.opens_at)})
    if poll.closes_at:
        lines.append(_("It closes by itself on %(time)s.") % {"time": local_time(poll.closes_at)})
    return [str(line) for line in lines]


def _closing(poll: Poll) -> list[str]:
    lines = [
        _("No more ballots are accepted."),
        _("All ballots accepted so far are counted; then the result is final."),
    ]
    if poll.results_visible in (Visibility.AFTER_VOTE, Visibility.AFTER_CLOSE):
        lines.append(_("Then everybody sees the results."))
    lines.append(_("A closed poll can't be opened again. A reset starts a new round, from zero."))
    return lines


def _publishing(poll: Poll) -> list[str]:
    lines = [_("The result becomes official, and all pages of the poll say so.")]
    if poll.results_visible == Visibility.STAFF:
        lines.append(
            _(
                "Results stay visible to staff only: publishing doesn't make them public. "
                "To make them public, change “Results visible” on the poll's page."
            )
        )
    else:
        lines.append(_("Everybody sees the result."))
    return lines


def _resetting(poll: Poll) -> list[str]:
    round_ = {"round": poll.round}
    lines = [
        _("Round %(round)s starts as a draft, from zero; everyone can vote again.")
        % {"round": poll.round + 1}
    ]
    if poll.state == State.OPEN:
        lines.insert(0, _("Voting stops at once."))
        lines.append(
            _(
                "The ballots of round %(round)s stay counted, but the round has no final result. "
                "To keep its result, close the poll first."
            )
            % round_
        )
    else:
        lines.append(
            _("The ballots and the result of round %(round)s are kept, under “Earlier rounds” here.") % round_
        )
        lines.append(_what_voters_keep(poll) % round_)
    lines.append(_("Opening and closing times are cleared."))
    lines.append(_("This can't be undone."))
    return lines


def _what_voters_keep(poll: Poll) -> str:
    if poll.results_visible == Visibility.STAFF:
        return _("As before, voters don't see it.")
    if poll.state == State.PUBLISHED:
        return _(
            "The published result and its audit bundle leave the poll's pages. Voters find both under"
            " “Earlier rounds”, which the results page links to."
        )
    return _(
        "The result disappears from the voters' pages, because it wasn't published. To keep it there, publish"
        " it first."
    )


_VISIBILITY_TEXTS = {
    Visibility.ALWAYS: gettext_lazy("Everybody sees the results as they come in."),
    Visibility.AFTER_VOTE: gettext_lazy("Voters see the results once they have voted."),
    Visibility.AFTER_CLOSE: gettext_lazy("Nobody but staff sees the results before the poll is closed."),
    Visibility.STAFF: gettext_lazy("Nobody but staff sees the results."),
}


def outcome(step: str, poll: Poll) -> str:
    """Return the message after the step."""
    if step == "publish" and poll.results_visible == Visibility.STAFF:
        return _("The result is published. It stays visible to staff only.")
    return {
        "open": _("The poll is open. Voters can cast their ballots."),
        "close": _("Voting has ended. The last ballots are being counted."),
        "publish": _("The result is published."),
        "reset": _("The poll was reset. Round %(round)s is a draft.") % {"round": poll.round},
    }[step]


def obstacle(poll: Poll) -> str:
    """Return why the draft can't be opened as it is, or "" if it can."""
    if poll.state != State.DRAFT:
        return ""
    try:
        labels = [choice.label for choice in poll.choices.all()]
        drafts.check_draft(poll, labels, drafts.scheduled_times(poll))
    except LandslideError as error:
        sentences = [str(one) for says in error.extra.get("errors", {}).values() for one in says]
        return " ".join(sentences) or error.detail
    if poll.closes_at and poll.closes_at <= clock.utc_now():
        return _("The closing time has passed; change or clear it first.")
    return ""


def local_time(value: Any) -> str:
    return date_format(timezone.localtime(value), "DATETIME_FORMAT")
