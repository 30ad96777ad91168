"""Who visits a poll's page, and may they vote: what the voter endpoint finds out before anybody casts.

A cast itself looks at nothing but cookies (voters.key_of), so that it needs no database.
Here there is time for one: to look into the session, or for the batch of an invite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from polls.models import Identity
from polls.voters import identity
from polls.voters.identity import key_from_pass, make_pass
from polls.voters.invites import find_batch, read_token
from polls.voters.poll_rules import PollRules

#: What became of an invite that was shown.
ACCEPTED, INVALID, REVOKED = "accepted", "invalid", "revoked"


@dataclass(frozen=True, slots=True)
class Visitor:
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
class Visit:
    """What of a request says who comes. `user` asks the database when it is called."""

    cookies: Mapping[str, str]
    invite: str | None
    user: Callable[[], Any]

    def pass_key(self, rules: PollRules) -> bytes | None:
        pass_ = self.cookies.get(identity.PASS_COOKIE)
        key = key_from_pass(rules.identity, rules.id, rules.voter_secret, pass_)
        return None if key in rules.ended else key


def meet(visit: Visit, rules: PollRules) -> Visitor:
    """Who this is. While the database is away, a pass that was given before is believed."""
    try:
        return _MEETINGS[Identity(rules.identity)](visit, rules)
    except DatabaseError:
        key = visit.pass_key(rules)
        if key is None:
            raise
        return Visitor(key)


def _new_pass(rules: PollRules, key: bytes) -> str:
    return make_pass(rules.identity, rules.id, rules.voter_secret, key)


def _browser(visit: Visit, rules: PollRules) -> Visitor:
    token = identity.token_from(visit.cookies.get(identity.COOKIE))
    return Visitor(identity.browser_key(rules.voter_secret, token) if token else None)


def _account(visit: Visit, rules: PollRules) -> Visitor:
    """The session decides, not the pass: who has signed out on a shared device is gone."""
    user = visit.user()
    if user is None or not (user.is_authenticated and user.is_active):
        return Visitor(
            None, needs=Identity.LOGIN, new_pass="" if identity.PASS_COOKIE in visit.cookies else None
        )
    key = identity.login_key(rules.voter_secret, user.pk)
    return Visitor(key, account=user.get_username(), new_pass=_new_pass(rules, key))


def _invited(visit: Visit, rules: PollRules) -> Visitor:
    """By the invite they show, or by the pass that one got them before.

    A pass is never renewed by itself, so that a revoked invite has none an hour later.
    """
    passed = visit.pass_key(rules)
    invite = read_token(visit.invite, rules.id, rules.secret)
    batch = find_batch(rules.id, invite) if invite else None
    if invite is None or batch is None:
        shown = INVALID if visit.invite is not None else None
        return Visitor(passed, needs=None if passed else Identity.INVITE, invite=shown)
    key = identity.invite_key(rules.voter_secret, *invite)
    if batch.ended:
        return Visitor(key, Identity.INVITE, invite=REVOKED, new_pass="" if passed == key else None)
    return Visitor(key, invite=ACCEPTED, new_pass=_new_pass(rules, key))


def _of_a_client(visit: Visit, rules: PollRules) -> Visitor:
    return Visitor(None, needs=Identity.CLIENT)


_MEETINGS: dict[Identity, Callable[[Visit, PollRules], Visitor]] = {
    Identity.BROWSER: _browser,
    Identity.LOGIN: _account,
    Identity.INVITE: _invited,
    Identity.CLIENT: _of_a_client,
}
