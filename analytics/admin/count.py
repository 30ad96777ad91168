"""A poll's count in the admin: recount it, download audit bundles, purge the links to voters."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from analytics.audit import bundles, purge, recount, signing
from analytics.audit.purge import PurgeRefused
from analytics.audit.recount import Recount
from analytics.results.tallies import is_stepping
from polls.audit_log import user_actor
from polls.errors import LandslideError
from polls.models import Poll, Round, canonical_code
from polls.text.integers import whole_number

from . import dashboard  # noqa: F401  sets extra_urls, which is extended below

#: Purging more ballots than this takes minutes, and proxies would time out. For such polls the page names the
#: command instead.
MAX_BALLOTS_IN_A_REQUEST = 200_000

View = Callable[[HttpRequest, Poll], HttpResponse]


def of_poll(permission: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """Decorate a page of one poll: check that the user has this permission on polls, and load the poll."""

    def wrap(view: View) -> Callable[..., HttpResponse]:
        @wraps(view)
        def page(request: HttpRequest, poll_id: int) -> HttpResponse:
            if not request.user.has_perm(f"polls.{permission}_poll"):
                raise PermissionDenied
            poll = Poll.objects.filter(pk=poll_id).first()
            if poll is None:
                raise Http404
            return view(request, poll)

        return page

    return wrap


@of_poll("view")
def show(request: HttpRequest, poll: Poll) -> HttpResponse:
    """GET lists the rounds. POST recounts a round, without changing anything."""
    context: dict[str, Any] = {"title": _("Count: %(poll)s") % {"poll": poll}, "rounds": _rounds(poll)}
    if request.method == "POST":
        try:
            context |= _recounted(recount.recount(_round(request, poll)))
        except LandslideError as error:
            messages.error(request, error.detail)
        except OperationalError:
            messages.error(request, _("The database was busy; try again."))
    key = {"fingerprint": signing.format_fingerprint(signing.fingerprint())}
    return _page(request, poll, "admin/count/overview.html", context | key)


def _round(request: HttpRequest, poll: Poll) -> Round:
    number = request.POST.get("round") or request.GET.get("round") or ""
    return recount.get_round(poll, whole_number(number))


def _rounds(poll: Poll) -> list[dict[str, Any]]:
    """Return the poll's rounds, newest first, each with its newest bundle."""
    return [
        {"round": each, "bundle": bundles.newest(poll.pk, each.number), "current": each.number == poll.round}
        for each in poll.rounds.order_by("-number")
    ]


def _recounted(found: Recount) -> dict[str, Any]:
    poll = found.round.poll
    # While results are stepped, staff may not see the current counts either. The size of a drift reveals no
    # votes.
    secret = is_stepping(poll) and found.round.number == poll.round
    rows = [
        {
            **row,
            "tally": _figure(row["tally"], secret=secret or row["withheld"]),
            "ledger": _figure(row["ledger"], secret=secret or row["withheld"]),
            "shown_drift": f"{row['drift']:+,}" if row["drift"] else "0",
        }
        for row in found.rows()
    ]
    return {"recounted": found.round, "rows": rows, "drifted": bool(found.drifted), "secret": secret}


def _figure(count: int, *, secret: bool) -> str:
    return "–" if secret else number_format(count, force_grouping=True)


@of_poll("change")
def fix(request: HttpRequest, poll: Poll) -> HttpResponse:
    """GET asks for confirmation, POST corrects the tally from the ledger."""
    back = HttpResponseRedirect(reverse("admin:poll_count", args=[poll.pk]))
    try:
        round_ = _round(request, poll)
        if request.method == "POST":
            _tell_fixed(request, recount.fix(round_, user_actor(request.user)))
            return back
    except LandslideError as error:
        messages.error(request, error.detail)
        return back
    except OperationalError:
        messages.error(request, _("The counting was busy; try again."))
        return back
    context = {
        "title": _("Correct the tally of round %(round)s?") % {"round": round_.number},
        "subject": str(poll),
        "lines": [
            _("The round is recounted from the ledger, and the tally is set to the result."),
            _("All screens show the corrected figures, and so does the result of a closed round."),
            _("Counting pauses while this runs; no ballot is lost."),
            _("The audit log records that you did this, and by how much each figure changed."),
        ],
        "button": _("Correct the tally"),
        "danger": False,
        "hidden": [("round", round_.number)],
        "back": back.url,
    }
    return _page(request, poll, "admin/confirm.html", context)


def _tell_fixed(request: HttpRequest, found: Recount) -> None:
    if not found.drifted:
        messages.info(request, _("Nothing to correct: the tally matches the ledger."))
        return
    changes = ", ".join(f"{row['label']} {-row['drift']:+,}" for row in found.rows() if row["drift"])
    messages.success(request, _("Corrected: %(changes)s") % {"changes": changes})


@of_poll("delete")
def purge_rounds(request: HttpRequest, poll: Poll) -> HttpResponse:
    """GET asks for the poll's code; POST with the code purges all finished rounds."""
    back = HttpResponseRedirect(reverse("admin:poll_count", args=[poll.pk]))
    if not request.user.has_perm("polls.change_poll"):
        raise PermissionDenied
    try:
        rounds = purge.purgeable(poll)
        ballots = purge.count_ballots(rounds)
        if ballots > MAX_BALLOTS_IN_A_REQUEST:
            raise PurgeRefused(_("This takes minutes: run `manage.py purge %(code)s`.") % {"code": poll.code})
        typed = canonical_code(request.POST.get("code", ""))
        if request.method == "POST" and typed == poll.code:
            purge.purge(poll.pk, user_actor(request.user))
            messages.success(request, _("Purged: nothing links these ballots to voters any more."))
            return back
    except LandslideError as error:
        messages.error(request, error.detail)
        return back
    except OperationalError:
        messages.error(request, _("The database was busy; nothing was purged. Try again."))
        return back
    context = {
        "title": _("Purge the data that link ballots to voters?"),
        "wrong": request.method == "POST",
        "numbers": ", ".join(str(round_.number) for round_ in rounds),
        "ballots": ballots,
    }
    return _page(request, poll, "admin/count/purge.html", context)


def _page(request: HttpRequest, poll: Poll, template: str, context: dict[str, Any]) -> HttpResponse:
    user = request.user
    common = {
        **admin.site.each_context(request),
        "opts": Poll._meta,
        "poll": poll,
        "may_fix": user.has_perm("polls.change_poll"),
        "may_purge": user.has_perm("polls.change_poll") and user.has_perm("polls.delete_poll"),
    }
    response = TemplateResponse(request, template, common | context)
    response.headers["Cache-Control"] = "private, no-store"
    return response


_before = admin.site.extra_urls  # type: ignore[attr-defined]
admin.site.extra_urls = lambda: [  # type: ignore[attr-defined]
    *_before(),
    path("count/<int:poll_id>/", admin.site.admin_view(show), name="poll_count"),
    path("count/<int:poll_id>/fix/", admin.site.admin_view(fix), name="poll_count_fix"),
    path("count/<int:poll_id>/purge/", admin.site.admin_view(purge_rounds), name="poll_count_purge"),
]
