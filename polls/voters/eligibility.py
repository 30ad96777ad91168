"""Who visits a poll's page, and may they vote: what the voter endpoint finds out before anybody casts.

A cast itself looks at nothing but cookies (identity.identify_voter), so that it needs no database.
Here there is time for one: to look into the session, or for the batch of an invite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from polls.models import Identity
from polls.voters import identity
from polls.voters.identity import make_pass, read_pass
from polls.voters.invites import find_batch, read_token
from polls.voters.poll_rules import PollRules

#: What became of an invite that was shown.
ACCEPTED, INVALID, REVOKED = "accepted", "invalid", "revoked"


@dataclass(frozen=True, slots=True)
class Eligibility:
    """`needs` says what would make them a voter: "login", "invite" or "client"; None for who may vote.

    key: the voter_key where it is known, also of an invite that was revoked.
    new_pass: the pass to give; "" takes away one that is no good any more, None leaves it alone.
    """

    key: bytes | None
    needs: str | None = None
    account: str | None = None
    invite: str | None = None
    new_pass: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What of a request says who comes. `user` asks the database when it is called."""

    cookies: Mapping[str, str]
    invite: str | None
    user: Callable[[], Any]

    def pass_key(self, rules: PollRules) -> bytes | None:
        pass_ = self.cookies.get(identity.PASS_COOKIE)
        key = read_pass(rules.identity, rules.id, rules.voter_secret, pass_)
        return None if key in rules.ended_voters else key


def check_eligibility(credentials: Credentials, rules: PollRules) -> Eligibility:
    """Who this is. While the database is away, a pass that was given before is believed."""
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
    """The session decides, not the pass: who has signed out on a shared device is gone."""
    user = credentials.user()
    if user is None or not (user.is_authenticated and user.is_active):
        return Eligibility(
            None, needs=Identity.LOGIN, new_pass="" if identity.PASS_COOKIE in credentials.cookies else None
        )
    key = identity.login_key(rules.voter_secret, user.pk)
    return Eligibility(key, account=user.get_username(), new_pass=_new_pass(rules, key))


def _check_invite(credentials: Credentials, rules: PollRules) -> Eligibility:
    """By the invite they show, or by the pass that one got them before.

    A pass is never renewed by itself, so that a revoked invite has none an hour later.
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
