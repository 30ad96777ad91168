"""The receipt page: the status of a voter's ballot, and how to check the whole count.

A receipt is private, so the form sends it in the body. Browsers, logs and caches keep addresses. A lookup
changes nothing, so the form needs no CSRF token, and the page can be cached.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from analytics.audit import bundles, signing
from analytics.results.visibility import Viewer, may_see
from polls import rounds
from polls.casting.receipts import receipt_status
from polls.errors import ReceiptNotFound, TooLarge
from polls.models import Poll, canonical_code
from polls.pages.views import poll_page, unknown_poll
from polls.poll_document import poll_document
from polls.text.integers import whole_number

#: The most bytes of a form with a receipt.
_BODY_MAX_BYTES = 4096

#: Tone, title and sentence for each status of a ballot.
_VERDICTS: dict[str, tuple[str, Any, Any]] = {
    "counted": ("good", _("Counted"), _("Your ballot is part of the count.")),
    "accepted": (
        "",
        _("Accepted, being counted"),
        _(
            "Your ballot is stored. It will be counted in a moment, unless the organiser must look at it"
            " first. Check again later."
        ),
    ),
    "replaced": (
        "warn",
        _("Replaced by a later ballot of yours"),
        _("You changed your ballot, and the later one counts instead. Check with the later receipt."),
    ),
    "quarantined": (
        "warn",
        _("Set aside for review: it counts in the second tally"),
        _(
            "The organiser doubts some ballots, including yours. They are counted in a second tally next to"
            " the result. As long as they are few, only their number is shown."
        ),
    ),
    "rejected": (
        "bad",
        _("Rejected"),
        _(
            "The organiser decided that your ballot can't count: it broke the poll's rules, or another ballot"
            " of yours is counted."
        ),
    ),
    "purged": (
        "",
        _("Not linked to a ballot any more"),
        _(
            "To protect the voters, the links between this round's receipts and ballots were destroyed for"
            " good. Look for your receipt in the published list: if it is there, your ballot is counted."
        ),
    ),
    "unknown": (
        "bad",
        _("We don't know this receipt"),
        _(
            "A receipt has 72 characters, and capital and small letters are different. Copy it again from"
            " where you kept it."
        ),
    ),
}


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def receipt(request: HttpRequest, code: str) -> HttpResponse:
    if request.method != "POST":
        return _form_page(request, code)
    length = whole_number(request.META.get("CONTENT_LENGTH") or "0")
    if length is None or length > _BODY_MAX_BYTES:
        return HttpResponse(TooLarge().detail, status=413, content_type="text/plain; charset=utf-8")
    poll = Poll.objects.filter(code=canonical_code(code)).prefetch_related("choices").first()
    if poll is None:
        return unknown_poll(request, code)
    typed = "".join(request.POST.get("receipt", "").split())
    response = _page(request, poll, {"typed": typed[:200], **_verdict(poll, typed)})
    add_never_cache_headers(response)
    return response


def _verdict(poll: Poll, typed: str) -> dict[str, Any]:
    if not typed:
        return {"missing": True}
    elsewhere, round_ = "", None
    try:
        found = receipt_status(typed)
    except ReceiptNotFound as error:
        status = str(error.extra.get("reason", "unknown"))
    else:
        status, round_ = str(found["status"]), found["round"]
        elsewhere = str(found["poll"]) if found["poll"] != poll.code else ""
    tone, title, words = _VERDICTS[status]
    about = {"elsewhere": elsewhere, "round": round_ if round_ != poll.round and not elsewhere else None}
    return {"tone": tone, "title": title, "words": words, **about}


@poll_page
def _form_page(request: HttpRequest, poll: Poll) -> HttpResponse:
    return _page(request, poll, {})


def _page(request: HttpRequest, poll: Poll, answer: dict[str, Any]) -> HttpResponse:
    # Everybody gets the same page. Staff see more in the admin.
    public = may_see(poll.state, poll.results_visible, Viewer.PUBLIC)
    context = {
        "poll": poll_document(poll),
        "bundle": bundles.current(poll) if public else None,
        "has_earlier": rounds.public(poll).exists(),
        "fingerprint": signing.format_fingerprint(signing.fingerprint()),
        **answer,
    }
    return render(request, "analytics/receipt.html", context)
