"""The page that every error's `type` points to. The page lists each code, its meaning, and what to do."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from polls.errors import errors_by_code

SAME_AGAIN = _("Send the same ballot again, with its ballot_id, after Retry-After seconds; it counts once.")

ADVICE = {
    "malformed": _("Correct the request: `detail` says what is wrong, `errors` lists it by field."),
    "invalid_selection": _(
        "Correct the ballot: `reason` says whether there are too many, too few, unknown or duplicate choices,"
        " or a value off the scale."
    ),
    "voter_unknown": _("Send the ballot again with the cookie that this response sets, or use an API key."),
    "invalid_key": _("Send `Authorization: Api-Key …` with a key that is neither expired nor revoked."),
    "foreign_origin": _(
        "Cast from the poll's own page, or from a server with an API key. The operator can allow an origin."
    ),
    "missing_scope": _("Ask the operator for a key with the scope that `detail` names."),
    "person_required": _("Ask somebody with an account to do it in the admin."),
    "not_eligible": _(
        "`needs` says what is missing: a login, an invite, or an API key. Then ask the poll's voter endpoint,"
        " and send the same ballot again."
    ),
    "proof_required": _(
        "Fetch a challenge from the address in `challenge`, solve it, and send the same ballot with `proof`."
    ),
    "poll_not_found": _("Check the code: it may be mistyped, or the draft was deleted."),
    "receipt_not_found": _("Check the receipt: it has 72 characters, and case matters."),
    "audit_not_found": _(
        "A bundle exists a few seconds after the poll is published, if its results are public."
    ),
    "quarantine_not_found": _("Check the id against the list of the poll's quarantines."),
    "invite_batch_not_found": _("List the poll's batches; each has its number."),
    "not_found": _("Check the address against /api/docs/."),
    "method_not_allowed": _("Use one of the methods in the Allow header."),
    "not_acceptable": _("Accept application/json, or send no Accept header."),
    "already_voted": _(
        "Nothing: the first ballot stands. If the poll allows changes, name that ballot in `replaces`."
    ),
    "poll_not_open": _("Wait until the poll is open. After it has closed, no ballot is accepted."),
    "round_changed": _("Load the poll again and let the voter vote in the current round."),
    "illegal_state": _("Read the poll's state, and take a step that this state allows."),
    "too_few_ballots": _("`detail` says how many are needed: wait for more, or leave them as they are."),
    "code_taken": _("Choose another code, or leave it out to get a random one."),
    "too_large": _("Send less: `detail` has the limit. Split a batch."),
    "unsupported_media_type": _("Send JSON with Content-Type: application/json."),
    "ballot_id_reused": _("Use a new ballot_id for other selections; the first ballot stands."),
    "rate_limited": _("Slow down, and try again after Retry-After seconds."),
    "overloaded": SAME_AGAIN,
    "outcome_unknown": SAME_AGAIN,
    "unavailable": _("Try again after Retry-After seconds; send a ballot with the same ballot_id."),
    "log_inconsistent": _(
        "Try again later; send a ballot with the same ballot_id. The log and the admin tell the operator what"
        " to do."
    ),
    "secret_key_differs": _(
        "Try again later. The operator has to configure the SECRET_KEY that the poll was created with."
    ),
    "log_unsuitable": _(
        "Try again later; send a ballot with the same ballot_id. The log tells the operator what to do."
    ),
    "internal_error": _("Report it with the X-Request-ID of the response, which the log has too."),
}


def codes() -> list[str]:
    """Return every code that a response may have. Other errors only occur on the command line."""
    return sorted(ADVICE)


@require_safe
@cache_control(public=True, max_age=3600)
def error_page(request: HttpRequest) -> HttpResponse:
    known = sorted((errors_by_code()[code] for code in ADVICE), key=lambda error: (error.status, error.code))
    rows = [
        {"code": each.code, "status": each.status, "title": each.title, "advice": ADVICE[each.code]}
        for each in known
    ]
    return render(request, "polls/errors.html", {"rows": rows})
