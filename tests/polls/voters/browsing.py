"""A voter's browser, and polls by invitation."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from polls.models import InviteBatch, Poll
from polls.voters import identity, invites
from polls.voters.invites import Invite
from tests.polls.api_client import POLLS, check_problem, make_poll


class Browser:
    """A browser that sends each cookie to the paths it is for."""

    def __init__(self) -> None:
        self.client = Client()

    def visit(self, poll: Poll, invite: str | None = None, **headers: str) -> Any:
        """Call the voter endpoint, as the poll's page does. Return its document."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if invite is not None:
            sent[invites.HEADER] = invite
        self.answer: Any = self.client.get(f"{POLLS}{poll.code}/voter/", headers=sent)
        assert self.answer.status_code == 200, self.answer.content
        assert self.answer["Cache-Control"] == "private, no-store"
        self.client.cookies.load(self.answer.headers.get("Set-Cookie", ""))
        return self.answer.json()

    def cast(self, poll: Poll, selection: int = 1, **fields: Any) -> Any:
        body = {"selections": [selection], **fields}
        answer = self.client.post(f"{POLLS}{poll.code}/ballots/", body, content_type="application/json")
        if answer.status_code >= 400:
            check_problem(answer)
        return answer

    @property
    def passes(self) -> list[Any]:
        """Return the pass cookies that the latest visit set."""
        return [morsel for morsel in self.answer.cookies.values() if morsel.key == identity.PASS_COOKIE]

    def sign_in(self, user: User) -> None:
        self.client.force_login(user)


def person(name: str = "anna") -> User:
    return User.objects.create_user(name)


def invited(count: int = 3, **fields: Any) -> tuple[Poll, InviteBatch]:
    poll = make_poll(open=True, identity="invite", **fields)
    return poll, invites.make_batch(poll.pk, count, by="anna")


def token(batch: InviteBatch, serial: int = 1) -> str:
    return invites.make_token(batch.poll.pk, bytes(batch.poll.secret), Invite(batch.pk, serial))


def status_of(known: dict[str, Any]) -> dict[str, Any]:
    return {name: known[name] for name in ("eligible", "needs", "account", "invite", "voted")}
