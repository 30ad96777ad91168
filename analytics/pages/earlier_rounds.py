"""The page of a poll's earlier rounds: their published results, and the audit bundles that prove them."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from analytics.audit import bundles
from polls import rounds
from polls.models import Poll
from polls.pages.views import poll_page


@poll_page
def earlier_rounds(request: HttpRequest, poll: Poll) -> HttpResponse:
    """A reset takes a result from the poll's other pages; what was published stays to be seen here."""
    listed = rounds.with_results(rounds.public(poll))
    for each in listed:
        each["bundle"] = bundles.newest(poll.pk, each["round"].number)
    return render(request, "analytics/earlier.html", {"poll": poll, "rounds": listed})
