"""The voter endpoint: who the visitor is, whether they may vote, and whether they have voted."""

from http.cookies import SimpleCookie
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from polls.voters import identity, invites
from polls.voters.eligibility import Credentials
from polls.voters.poll_rules import get_rules

from .endpoints import Endpoint
from .schema import ANYBODY, CODE, COOKIE, NEGOTIATED, RETRY_AFTER, SET_COOKIE, refusals, response_header
from .serializers import VoterDocument
from .voter_answer import CACHE_CONTROL, is_ours, voter_answer

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
        ours = is_ours(request.headers.get("Sec-Fetch-Site"))
        answer = voter_answer(rules, credentials, ours=ours, secure=request.is_secure())
        response = Response(answer.document, headers={"Cache-Control": CACHE_CONTROL})
        if answer.voter_cookie is not None:
            response["Set-Cookie"] = answer.voter_cookie
        _set_passes(response, answer.passes)
        return response


def _set_passes(response: Response, headers: list[str]) -> None:
    for index, header in enumerate(headers):
        # A pass is two cookies with the same name and different paths, so each needs a key of its own here.
        # Django doesn't send the keys.
        (morsel,) = SimpleCookie(header).values()
        response.cookies[f"{identity.PASS_COOKIE} {index}"] = morsel


def _user(request: Request) -> Any:
    """Return the user of Django's session. DRF's `request.user` ignores the session here."""
    known = settings.SESSION_COOKIE_NAME in request.COOKIES
    return get_user(request._request) if known else None
