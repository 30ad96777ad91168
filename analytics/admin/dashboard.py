"""The admin's overview: the backlog, workers, open polls and alarms.

The page itself queries neither Redis nor the vote log, so it also loads while they are down. The page fetches
its figures from the view `figures` every few seconds.
"""

import logging
from typing import Any

from django.contrib import admin
from django.db.models import Sum
from django.http import HttpRequest, JsonResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from analytics.counting import held_ballots
from analytics.health import modes, readiness, status
from analytics.models import Halt, Tally
from analytics.results.tallies import BALLOTS, is_stepping, snapshot
from polls.models import Poll, State

logger = logging.getLogger(__name__)

OPEN_POLLS_AT_MOST = 50


def show(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the page's context, without its figures (unfold's DASHBOARD_CALLBACK)."""
    context.update(
        {
            "title": _("Overview"),
            "figures_url": reverse("admin:figures"),
            "may_view_polls": request.user.has_perm("polls.view_poll"),
            "may_add_polls": request.user.has_perm("polls.add_poll"),
            "may_view_dead_letters": request.user.has_perm("polls.view_deadletter"),
        }
    )
    return context


def figures(request: HttpRequest) -> JsonResponse:
    """Respond with alarms, modes, cards, workers and open polls, as texts to show."""
    log = _log_status()
    counting = status.counting_status()
    answer = {
        "alarms": _alarms(log, counting),
        "modes": _modes(),
        "cards": {
            "backlog": _backlog_card(log),
            "log": _log_card(log),
            "workers": _workers_card(counting),
            "sweep": _sweep_card(counting),
            "dead_letters": _dead_letters_card(counting),
        },
        "workers": [_worker(row) for row in counting["workers"]],
        "polls": _open_polls() if request.user.has_perm("polls.view_poll") else [],
    }
    return JsonResponse(answer, headers={"Cache-Control": "private, no-store"})


def _log_status() -> dict[str, Any] | None:
    try:
        return status.log_status()
    except Exception:
        logger.warning("vote_log_unreachable", exc_info=True)
        return None


def _alarms(log: dict[str, Any] | None, counting: dict[str, Any]) -> list[str]:
    alarms = []
    if log is None:
        alarms.append(_("The vote log doesn't answer. No ballot is accepted or counted until it does."))
    elif not log["consistent"]:
        alarms.append(
            _(
                "The vote log was replaced or has lost entries. "
                "No ballot is accepted or counted until an operator runs `manage.py reconcile_log`."
            )
        )
    codes = dict(Poll.objects.filter(pk__in=Halt.objects.values("poll_id")).values_list("pk", "code"))
    halted = _(
        "Counting of poll %(code)s is halted, since most of its ballots can't be counted: %(reason)s."
        " %(count)s ballots are held."
    )
    alarms += [
        halted % {"code": codes[poll_id], "reason": reason, "count": held_ballots.count_ballots(poll_id)}
        for poll_id, reason in Halt.objects.values_list("poll_id", "reason")
        if poll_id in codes
    ]
    if not any(worker["alive"] for worker in counting["workers"]):
        alarms.append(_("No worker is running: ballots are accepted and kept, but not counted."))
    if not counting["sweeping"]:
        alarms.append(_("The sweep isn't running: polls don't open or close by themselves."))
    return alarms


def _modes() -> list[str]:
    """Return the degraded modes as sentences, except the modes that have an alarm."""
    shown_as_alarms = (
        modes.LOG_AWAY,
        modes.LOG_INCONSISTENT,
        modes.COUNTING_HALTED,
        modes.COUNTING_STOPPED,
        modes.SWEEP_STOPPED,
    )
    return [
        str(modes.DESCRIPTIONS[mode])
        for mode in readiness.check_readiness().modes
        if mode not in shown_as_alarms
    ]


def _backlog_card(log: dict[str, Any] | None) -> dict[str, str]:
    if log is None:
        return _card("–", _("The vote log doesn't answer."), "bad")
    if not log["backlog"]:
        return _card(number_format(0), _("Every accepted ballot is counted."))
    parts = ", ".join(f"{partition}: {number_format(n)}" for partition, n in log["backlogs"].items() if n)
    return _card(number_format(log["backlog"]), _("By partition: %(parts)s") % {"parts": parts})


def _log_card(log: dict[str, Any] | None) -> dict[str, str]:
    if log is None:
        return _card(_("Unreachable"), _("Connections to the vote log fail."), "bad")
    count = len(log["backlogs"])
    note = ngettext("%(log)s, %(count)s partition", "%(log)s, %(count)s partitions", count) % {
        "log": log["log"],
        "count": number_format(count),
    }
    return _card(_("Consistent"), note) if log["consistent"] else _card(_("Inconsistent"), note, "bad")


def _workers_card(counting: dict[str, Any]) -> dict[str, str]:
    alive = sum(worker["alive"] for worker in counting["workers"])
    gone = len(counting["workers"]) - alive
    if not alive:
        return _card(number_format(0), _("No ballot is counted."), "bad")
    if gone:
        note = ngettext("%(count)s has gone silent.", "%(count)s have gone silent.", gone)
        return _card(number_format(alive), note % {"count": number_format(gone)}, "warn")
    return _card(number_format(alive), _("All of them answer."))


def _sweep_card(counting: dict[str, Any]) -> dict[str, str]:
    swept = counting["swept_at"]
    if swept is None:
        return _card(_("Never seen"), _("Opens and closes polls on time."), "bad")
    since = _("Last seen: %(time)s") % {"time": date_format(timezone.localtime(swept), "DATETIME_FORMAT")}
    if not counting["sweeping"]:
        return _card(_("Silent"), since, "bad")
    return _card(_("Running"), _("Opens and closes polls on time."))


def _dead_letters_card(counting: dict[str, Any]) -> dict[str, str]:
    waiting = counting["dead_letters"]
    if not waiting:
        return _card(number_format(0), _("Nothing waits for a decision."))
    return _card(number_format(waiting), _("Entries that couldn't be counted wait for a decision."), "warn")


def _card(value: str, note: str, tone: str = "good") -> dict[str, str]:
    return {"value": value, "note": note, "tone": tone}


def _worker(row: dict[str, Any]) -> dict[str, str]:
    note = ngettext("seen %(count)s second ago", "seen %(count)s seconds ago", row["seen_seconds_ago"])
    return {
        "name": row["name"] or _("worker"),
        "note": _("alive") if row["alive"] else note % {"count": number_format(row["seen_seconds_ago"])},
        "tone": "good" if row["alive"] else "bad",
    }


def _open_polls() -> list[dict[str, str]]:
    polls = list(Poll.objects.filter(state__in=(State.OPEN, State.CLOSING))[:OPEN_POLLS_AT_MOST])
    rows = (
        Tally.objects.filter(poll_id__in=[poll.pk for poll in polls], key=BALLOTS)
        .values_list("poll_id", "round")
        .annotate(ballots=Sum("count"))
    )
    ballots = {(poll_id, round_): count for poll_id, round_, count in rows}
    # While results are stepped, staff may not see more than the public.
    for poll in filter(is_stepping, polls):
        ballots[poll.pk, poll.round] = snapshot(poll).counts.get(BALLOTS, 0)
    return [
        {
            "code": poll.code,
            "question": poll.question,
            "url": reverse("admin:polls_poll_change", args=[poll.pk]),
            "ballots": number_format(ballots.get((poll.pk, poll.round), 0), force_grouping=True),
            "note": _note(poll),
        }
        for poll in polls
    ]


def _note(poll: Poll) -> str:
    if poll.state == State.CLOSING:
        return _("closing")
    if poll.closes_at:
        return _("closes on %(time)s") % {
            "time": date_format(timezone.localtime(poll.closes_at), "DATETIME_FORMAT")
        }
    return ""


#: Pages that unfold adds to the admin site.
admin.site.extra_urls = lambda: [  # type: ignore[attr-defined]
    path("figures/", admin.site.admin_view(figures), name="figures")
]
