"""The page with the published results and audit bundles of a poll's earlier rounds."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from analytics.audit import bundles
from polls import rounds
from polls.models import Poll
from polls.pages.views import poll_page


@poll_page
def earlier_rounds(request: HttpRequest, poll: Poll) -> HttpResponse:
    """Show earlier rounds. After a reset, the poll's other pages no longer show these results."""
    listed = rounds.with_results(rounds.public(poll))
    for each in listed:
        each["bundle"] = bundles.newest(poll.pk, each["round"].number)
    return render(request, "analytics/earlier.html", {"poll": poll, "rounds": listed})
