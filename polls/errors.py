"""The typed errors of the whole product, each with a stable code and an HTTP status.

Domain code raises them, and every lane turns them into RFC 9457 problem details with `problem_details`. A
released code keeps its meaning for ever, because clients depend on it. Titles and details are for people.
"""

from random import randint
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _


class LandslideError(Exception):
    """An error with a stable `code`, the HTTP `status` that it maps to, and a sentence for people."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    title: ClassVar[Any] = _("The request was refused")
    #: Retry-After is a random number of seconds in this range, so that clients don't retry all at once.
    retry_between: ClassVar[tuple[int, int] | None] = None
    retry_after: int | None = None

    def __init__(self, detail: Any = "", *, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self._detail = detail
        self.extra = extra
        if retry_after is not None:
            self.retry_after = retry_after
        elif self.retry_between is not None:
            self.retry_after = randint(*self.retry_between)

    @property
    def detail(self) -> str:
        return str(self._detail or self.title)


class Malformed(LandslideError):
    code, title = "malformed", _("The request is malformed")


class InvalidSelection(LandslideError):
    code, title = "invalid_selection", _("This selection is not valid in this poll")


class VoterUnknown(LandslideError):
    code, status = "voter_unknown", 401
    title = _("The voter is unknown; a voter cookie was set, so try again")


class InvalidKey(LandslideError):
    code, status, title = "invalid_key", 401, _("The API key is wrong, expired or revoked")


class ForeignOrigin(LandslideError):
    code, status, title = "foreign_origin", 403, _("Ballots are not accepted from other sites' pages")


class MissingScope(LandslideError):
    code, status, title = "missing_scope", 403, _("The API key lacks the required scope")


class PersonRequired(LandslideError):
    code, status, title = "person_required", 403, _("A person has to do this in the admin; an API key can't")


class NotEligible(LandslideError):
    """`needs` says what would make the voter eligible: "login", "invite" or "client"."""

    code, status, title = "not_eligible", 403, _("This voter may not vote in this poll")


class ProofRequired(LandslideError):
    """The poll requires a proof of work; `challenge` is the address of the challenge endpoint."""

    code, status, title = "proof_required", 403, _("This poll requires a proof of work with each ballot")


class PollNotFound(LandslideError):
    code, status, title = "poll_not_found", 404, _("There is no poll with this code")


class ReceiptNotFound(LandslideError):
    code, status, title = "receipt_not_found", 404, _("No ballot was accepted with this receipt")


class AuditNotFound(LandslideError):
    code, status, title = "audit_not_found", 404, _("There is no audit bundle that you may see")


class QuarantineNotFound(LandslideError):
    code, status, title = "quarantine_not_found", 404, _("This poll has no such quarantine")


class InviteBatchNotFound(LandslideError):
    code, status, title = "invite_batch_not_found", 404, _("This poll has no such batch of invites")


class NotFound(LandslideError):
    code, status, title = "not_found", 404, _("There is nothing at this address")


class MethodNotAllowed(LandslideError):
    code, status, title = "method_not_allowed", 405, _("This address doesn't support this HTTP method")


class NotAcceptable(LandslideError):
    code, status, title = "not_acceptable", 406, _("Only application/json is available")


class AlreadyVoted(LandslideError):
    code, status, title = "already_voted", 409, _("This voter has already voted")


class PollNotOpen(LandslideError):
    code, status, title = "poll_not_open", 409, _("The poll is not open for voting")


class RoundChanged(LandslideError):
    code, status, title = "round_changed", 409, _("The poll was reset; the ballot belongs to another round")


class IllegalState(LandslideError):
    """The poll's state doesn't allow this step."""

    code, status, title = "illegal_state", 409, _("The poll's state does not allow this")


class TooFewBallots(LandslideError):
    code, status = "too_few_ballots", 409
    title = _("There are too few ballots: the result would reveal single ballots")


class CodeTaken(LandslideError):
    code, status, title = "code_taken", 409, _("Another poll has this code")


class TooLarge(LandslideError):
    code, status, title = "too_large", 413, _("The request body is too large")


class UnsupportedMediaType(LandslideError):
    code, status, title = "unsupported_media_type", 415, _("Only application/json is accepted")


class BallotIdReused(LandslideError):
    code, status = "ballot_id_reused", 422
    title = _("This ballot_id was used for another ballot of this voter")


class RateLimited(LandslideError):
    code, status, title = "rate_limited", 429, _("Too many requests")
    retry_between = 3, 10


class SecretKeyDiffers(LandslideError):
    code, status, title = "secret_key_differs", 503, _("This server has another SECRET_KEY than the database")
    retry_between = 15, 45


class InternalError(LandslideError):
    code, status, title = "internal_error", 500, _("Something went wrong on our side, and it has been logged")


class Overloaded(LandslideError):
    """This request wrote nothing. An earlier request with the same ballot may have written it."""

    code, status = "overloaded", 503
    title = _("Too many ballots are waiting; this request wrote nothing, so send it again in a moment")
    retry_between = 1, 8


class OutcomeUnknown(LandslideError):
    """The store failed during the append: the ballot may or may not be in the log."""

    code, status = "outcome_unknown", 503
    title = _(
        "We can't tell yet whether the ballot is in; sending it again with the same ballot_id settles it"
    )
    retry_between = 1, 4


class Unavailable(LandslideError):
    """A store that is needed doesn't answer. If the request was a cast, it has written nothing."""

    code, status, title = "unavailable", 503, _("A store doesn't answer; try again in a moment")
    retry_between = 1, 5


class LogInconsistent(LandslideError):
    """The vote log or a partition has lost entries, or isn't the log that the database knows."""

    code, status = "log_inconsistent", 503
    title = _("The vote log, or a part of it, is inconsistent; an operator has to repair it")
    retry_between = 15, 45


class LogUnsuitable(LandslideError):
    """The vote log's store, as configured, isn't as durable as an acknowledgement promises."""

    code, status, title = "log_unsuitable", 503, _("The vote log can't be used as it is configured")

    def __init__(self, detail: Any, hint: Any = "") -> None:
        super().__init__(detail)
        self.hint = str(hint)


def errors_by_code() -> dict[str, type[LandslideError]]:
    """Return every error class by its code."""
    return {cls.code: cls for cls in LandslideError.__subclasses__()}


def problem_details(error: LandslideError) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return (status, headers, RFC 9457 document) of an error. All responses to errors are made here."""
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Api-Key"
    document = {
        "type": f"/api/errors/#{error.code}",
        "title": str(error.title),
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        **error.extra,
    }
    return error.status, headers, document
