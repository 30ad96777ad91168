"""The voter endpoint: who the visitor is, whether they may vote, and whether they have voted."""

import uuid
from http.cookies import SimpleCookie
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from polls.casting import ballot_box
from polls.casting.receipts import make_receipt
from polls.voters import eligibility, identity, invites, proof_of_work
from polls.voters.eligibility import Credentials, Eligibility
from polls.voters.poll_rules import PollRules, get_rules

from .endpoints import Endpoint
from .schema import ANYBODY, CODE, COOKIE, NEGOTIATED, RETRY_AFTER, SET_COOKIE, refusals, response_header
from .serializers import VoterDocument

INVITE = OpenApiParameter(
    invites.HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="In a poll by invitation: the part after `#i=` of the invite's link.",
)


class Voter(Endpoint):
    """Describe the visitor as a voter, and set their cookies.

    The voter's page gets all personal data here.
    """

    @extend_schema(
        operation_id="voter",
        tags=["ballots"],
        summary="Who this visitor is, and whether they have voted",
        description=(
            "For the poll's own pages. It sets the cookies that identify the voter when casting: `voter`, and"
            " where the poll asks for an account or an invite a `pass` for this poll, valid for an hour. It"
            " sets no cookie for pages of other sites."
        ),
        auth=ANYBODY,
        parameters=[CODE, COOKIE, INVITE, response_header("Set-Cookie", [200], SET_COOKIE), RETRY_AFTER],
        responses={200: VoterDocument} | refusals(*NEGOTIATED, "malformed", "poll_not_found"),
    )
    def get(self, request: Request, code: str) -> Response:
        rules = get_rules(code)
        credentials = Credentials(
            request.COOKIES, request.headers.get(invites.HEADER), lambda: _user(request)
        )
        voter = eligibility.check_eligibility(credentials, rules)
        ours = not _cross_site(request)
        known = identity.read_cookie(request.COOKIES.get(identity.COOKIE)) is not None
        # The cookie is set even in polls that don't need it, because ballots with it can use the fast lanes.
        new = identity.new_cookie() if ours and not known else None
        ballot_id = ballot_box.current_ballot(rules, voter.key) if voter.key else None
        document = _document(rules, voter, ballot_id)
        document["proof"] = _challenge(rules, voter, new, ballot_id)
        response = Response(document, headers={"Cache-Control": "private, no-store"})
        secure = request.is_secure()
        if new is not None:
            response["Set-Cookie"] = identity.cookie_header(new, secure=secure)
        if ours and voter.new_pass is not None:
            _set_pass(response, identity.pass_headers(rules.code, voter.new_pass, secure=secure))
        return response


def _document(rules: PollRules, voter: Eligibility, ballot_id: bytes | None) -> dict[str, Any]:
    key = voter.key
    own = rules.identity in identity.WITH_PASS
    return {
        "poll": rules.code,
        "round": rules.round,
        "state": rules.state,
        "identity": rules.identity,
        "eligible": voter.needs is None,
        "needs": voter.needs,
        "account": voter.account,
        "invite": voter.invite,
        "tag": identity.voter_tag(key) if key and own else None,
        "voted": ballot_id is not None,
        "ballot_id": str(uuid.UUID(bytes=ballot_id)) if ballot_id else None,
        "receipt": make_receipt(rules.id, rules.round, key, ballot_id, rules.receipt_format)
        if key and ballot_id
        else None,
        "revote": rules.revote,
    }


def _challenge(
    rules: PollRules, voter: Eligibility, new_cookie: str | None, ballot_id: bytes | None
) -> dict[str, Any] | None:
    """Return the challenge to solve while the voter decides, or None if the poll requires no proof."""
    if voter.needs is not None or not rules.requires_proof:
        return None
    token = identity.read_cookie(new_cookie)
    key = voter.key or (identity.browser_key(rules.voter_secret, token) if token else None)
    return (
        proof_of_work.new_challenge(proof_of_work.Voter(rules.id, rules.round, key), ballot_id)
        if key
        else None
    )


def _set_pass(response: Response, headers: list[str]) -> None:
    for index, header in enumerate(headers):
        # Both cookies have the same name, so they need different keys. Django doesn't send the keys.
        (morsel,) = SimpleCookie(header).values()
        response.cookies[f"{identity.PASS_COOKIE} {index}"] = morsel


def _user(request: Request) -> Any:
    """Return the user of Django's session. DRF's `request.user` ignores the session here."""
    known = settings.SESSION_COOKIE_NAME in request.COOKIES
    return get_user(request._request) if known else None


def _cross_site(request: Request) -> bool:
    """Whether the request comes from another site's page, which must not set our cookies."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
