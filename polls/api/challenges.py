"""The endpoint that makes challenges for a proof of work."""

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from polls import errors
from polls.casting import ballot_box
from polls.voters import identity, proof_of_work
from polls.voters.poll_rules import get_rules

from .endpoints import Endpoint
from .problems import problem_response
from .schema import ANYBODY, CODE, COOKIE, NEGOTIATED, RETRY_AFTER, SET_COOKIE, refusals, response_header
from .serializers import ChallengeDocument


class Challenge(Endpoint):
    """Make a challenge for one voter. It isn't stored: its signature comes back with the proof."""

    @extend_schema(
        operation_id="challenge",
        tags=["ballots"],
        summary="A challenge for a proof of work",
        description=(
            "In ALTCHA's format, version 1; valid for ten minutes, for this voter's next ballot only."
            " Find the `number` up to `maxnumber` for which SHA-256 of `salt` and the number in decimal is"
            " `challenge`, and send the base64 of the JSON"
            " `{algorithm, challenge, number, salt, signature}` as the ballot's `proof`."
        ),
        auth=ANYBODY,
        parameters=[CODE, COOKIE, response_header("Set-Cookie", [401], SET_COOKIE), RETRY_AFTER],
        responses={200: ChallengeDocument}
        | refusals(*NEGOTIATED, "malformed", "poll_not_found", "voter_unknown", "not_eligible"),
    )
    def get(self, request: Request, code: str) -> HttpResponse:
        rules = get_rules(code)
        cookie, pass_ = (request.COOKIES.get(name) for name in (identity.COOKIE, identity.PASS_COOKIE))
        try:
            key = ballot_box.voter_key_from(rules, cookie, pass_)
        except errors.VoterUnknown as error:
            refused = problem_response(error)
            refused["Set-Cookie"] = identity.cookie_header(identity.new_cookie(), secure=request.is_secure())
            return refused
        voter = proof_of_work.Voter(rules.id, rules.round, key)
        made = proof_of_work.new_challenge(voter, ballot_box.current_ballot(rules, key))
        return Response(made, headers={"Cache-Control": "private, no-store"})
