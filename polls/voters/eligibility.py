"""Who a visitor is and whether they may vote: the check behind the voter endpoint.

A cast uses cookies alone (`identity.identify_voter`) and needs no database. This check runs once before the
cast. The check may read the session or an invite's batch from the database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from polls.models import Identity
from polls.voters import identity
from polls.voters.identity import make_pass, read_pass
from polls.voters.invites import find_batch, read_token
from polls.voters.poll_rules import PollRules

#: The status of the invite in a request.
ACCEPTED, INVALID, REVOKED = "accepted", "invalid", "revoked"


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether a visitor may vote, and as which voter.

    key: the voter_key, if it is known; also for a revoked invite.
    needs: what the visitor lacks: "login", "invite" or "client"; None if they are eligible.
    new_pass: the pass to set; "" deletes an invalid one, None leaves the cookie alone.
    """

    key: bytes | None
    needs: str | None = None
    account: str | None = None
    invite: str | None = None
    new_pass: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """The parts of a request that identify a voter. Calling `user` reads the database."""

    cookies: Mapping[str, str]
    invite: str | None
    user: Callable[[], Any]

    def pass_key(self, rules: PollRules) -> bytes | None:
        pass_ = self.cookies.get(identity.PASS_COOKIE)
        key = read_pass(rules.identity, rules.id, rules.voter_secret, pass_)
        return None if key in rules.ended_voters else key


def check_eligibility(credentials: Credentials, rules: PollRules) -> Eligibility:
    """Identify the visitor. If the database is down, a pass that was issued before is enough."""
    try:
        return _CHECKS[Identity(rules.identity)](credentials, rules)
    except DatabaseError:
        key = credentials.pass_key(rules)
        if key is None:
            raise
        return Eligibility(key)


def _new_pass(rules: PollRules, key: bytes) -> str:
    return make_pass(rules.identity, rules.id, rules.voter_secret, key)


def _check_browser(credentials: Credentials, rules: PollRules) -> Eligibility:
    token = identity.read_cookie(credentials.cookies.get(identity.COOKIE))
    return Eligibility(identity.browser_key(rules.voter_secret, token) if token else None)


def _check_account(credentials: Credentials, rules: PollRules) -> Eligibility:
    """Identify by the session, not by a pass: on a shared device, the pass may be a previous user's."""
    user = credentials.user()
    if user is None or not (user.is_authenticated and user.is_active):
        return Eligibility(
            None, needs=Identity.LOGIN, new_pass="" if identity.PASS_COOKIE in credentials.cookies else None
        )
    key = identity.login_key(rules.voter_secret, user.pk)
    return Eligibility(key, account=user.get_username(), new_pass=_new_pass(rules, key))


def _check_invite(credentials: Credentials, rules: PollRules) -> Eligibility:
    """Identify by the invite in the request, or else by a pass that was issued for an invite before.

    A pass alone isn't renewed. An hour after an invite is revoked, its passes have expired.
    """
    passed = credentials.pass_key(rules)
    invite = read_token(credentials.invite, rules.id, rules.secret)
    batch = find_batch(rules.id, invite) if invite else None
    if invite is None or batch is None:
        shown = INVALID if credentials.invite is not None else None
        return Eligibility(passed, needs=None if passed else Identity.INVITE, invite=shown)
    key = identity.invite_key(rules.voter_secret, *invite)
    if batch.ended:
        return Eligibility(key, Identity.INVITE, invite=REVOKED, new_pass="" if passed == key else None)
    return Eligibility(key, invite=ACCEPTED, new_pass=_new_pass(rules, key))


def _refuse_browser(credentials: Credentials, rules: PollRules) -> Eligibility:
    return Eligibility(None, needs=Identity.CLIENT)


_CHECKS: dict[Identity, Callable[[Credentials, PollRules], Eligibility]] = {
    Identity.BROWSER: _check_browser,
    Identity.LOGIN: _check_account,
    Identity.INVITE: _check_invite,
    Identity.CLIENT: _refuse_browser,
}
