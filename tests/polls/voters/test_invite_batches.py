"""Batches of invites over REST, in the admin and on the command line."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from polls import lifecycle
from polls.models import ApiClient, InviteBatch, Poll, Record
from polls.voters import invites, poll_rules
from tests.factories import count
from tests.polls.api_client import POLLS, Caller, make_key, make_poll, refusal
from tests.polls.voters.browsing import Browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def poll() -> Poll:
    poll_rules.clear_cache()
    return make_poll(open=True, identity="invite")


@pytest.fixture
def writer() -> Caller:
    return Caller(make_key(ApiClient.Scope.POLLS_WRITE))


def links_in(answer: Any) -> list[str]:
    text = b"".join(answer.streaming_content).decode()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["serial", "link"]
    return [link for _, link in rows[1:]]


def address(poll: Poll, *rest: object) -> str:
    return "/".join([f"{POLLS}{poll.code}/invites", *map(str, rest), ""])


# --- REST ---


def test_links_use_the_public_url(writer: Caller, poll: Poll, settings: Any) -> None:
    settings.PUBLIC_URL = "https://vote.example.org"
    made = writer("POST", address(poll), {"count": 1}).json()
    assert made["links"] == f"https://vote.example.org{address(poll, made['batch'], 'links')}"
    file = writer("GET", address(poll, made["batch"], "links"), Accept="text/csv")
    assert links_in(file)[0].startswith(f"https://vote.example.org/p/{poll.code}/#i=")


def test_the_api_creates_downloads_lists_and_revokes_invites(writer: Caller, poll: Poll) -> None:
    answer = writer("POST", address(poll), {"count": 3, "label": "=Members"})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["count"], made["label"], made["revoked_at"], made["ended"]) == (3, "=Members", None, False)
    assert "third party" in made["made_by"]
    assert answer["Location"] == made["links"] == f"http://testserver{address(poll, made['batch'], 'links')}"

    file = writer("GET", address(poll, made["batch"], "links"), Accept="text/csv")
    assert (file.status_code, file["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert file["Cache-Control"] == "private, no-store"
    assert file["Content-Disposition"] == f'attachment; filename="invites-{poll.code}-{made["batch"]}.csv"'
    links = links_in(file)
    assert len(set(links)) == 3
    assert all(link.startswith(f"http://testserver/p/{poll.code}/#i=") for link in links)
    assert Browser().visit(poll, links[2].partition("#i=")[2])["invite"] == "accepted"

    assert writer("GET", address(poll)).json() == {"batches": [made]}
    for _again in range(2):
        revoked = writer("POST", address(poll, made["batch"], "revoke")).json()
    assert (revoked["ended"], "third party" in revoked["revoked_by"]) == (True, True)
    assert refusal(writer("GET", address(poll, made["batch"], "links"))) == (409, "illegal_state")
    assert Browser().visit(poll, links[0].partition("#i=")[2])["invite"] == "revoked"
    actions = Record.objects.filter(poll_code=poll.code).order_by("pk").values_list("action", flat=True)
    assert list(actions)[-3:] == ["invites made", "invites downloaded", "invites revoked"]


@pytest.mark.parametrize(
    "body",
    [{}, {"count": 0}, {"count": 1_000_001}, {"count": "3"}, {"count": 1, "label": "x" * 101}, {"number": 3}],
)
def test_an_invalid_batch_is_refused(writer: Caller, poll: Poll, body: Any) -> None:
    assert refusal(writer("POST", address(poll), body)) == (400, "malformed")
    assert not InviteBatch.objects.exists()


def test_links_and_changes_need_the_scope_to_write(writer: Caller, poll: Poll) -> None:
    reader = Caller(make_key(ApiClient.Scope.POLLS_READ, ApiClient.Scope.BALLOTS_WRITE))
    batch = writer("POST", address(poll), {"count": 1}).json()["batch"]
    assert reader("GET", address(poll)).status_code == 200
    for method, path in (
        ("POST", address(poll)),
        ("GET", address(poll, batch, "links")),
        ("POST", address(poll, batch, "revoke")),
    ):
        assert refusal(reader(method, path, {"count": 1})) == (403, "missing_scope")
        assert refusal(Caller()(method, path, {"count": 1})) == (401, "invalid_key")
    assert not InviteBatch.objects.get().revoked_at


def test_a_batch_is_found_under_its_own_poll_only(writer: Caller, poll: Poll) -> None:
    other = make_poll(identity="invite")
    batch = writer("POST", address(other), {"count": 1}).json()["batch"]
    for number in (batch, batch + 1, 2**63, 10**30):
        assert refusal(writer("GET", address(poll, number, "links"))) == (404, "invite_batch_not_found")
        assert refusal(writer("POST", address(poll, number, "revoke"))) == (404, "invite_batch_not_found")
    assert refusal(writer("POST", f"{POLLS}NOTHING/invites/", {"count": 1})) == (404, "poll_not_found")
    assert refusal(writer("POST", address(make_poll()), {"count": 1})) == (409, "illegal_state")


# --- the admin ---


def signed_in(*permissions: str) -> Client:
    user = User.objects.create_user("operator", is_staff=True, is_superuser=not permissions)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def page(name: str, poll: Poll, *rest: int) -> str:
    return reverse(f"admin:polls_poll_{name}", args=[poll.pk, *rest])


def test_the_admin_creates_downloads_and_revokes_invites(poll: Poll) -> None:
    client = signed_in()
    assert (
        page("invites", poll)
        in client.get(reverse("admin:polls_poll_change", args=[poll.pk])).content.decode()
    )
    client.post(page("invites", poll), {"count": "2", "label": "<b>Press"})
    batch = InviteBatch.objects.get()
    assert (batch.count, batch.label, batch.made_by) == (2, "<b>Press", "user operator")
    source = client.get(page("invites", poll)).content.decode()
    assert "&lt;b&gt;Press" in source and "<b>Press" not in source
    assert "#i=" not in source  # pages may be cached, photographed or left open

    assert len(links_in(client.get(page("invite_links", poll, batch.pk)))) == 2
    asked = client.get(page("invite_revoke", poll, batch.pk))
    assert "Revoke these invites?" in asked.content.decode()
    client.post(page("invite_revoke", poll, batch.pk))
    batch.refresh_from_db()
    assert batch.revoked_by == "user operator"
    assert client.get(page("invite_links", poll, batch.pk)).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_the_admin_counts_used_invites() -> None:
    poll_rules.clear_cache()
    poll = make_poll(open=True, identity="invite")
    batch = invites.make_batch(poll.pk, 3, label="Jury", by="x")
    browser = Browser()
    browser.visit(poll, invites.make_token(poll.pk, bytes(poll.secret), invites.Invite(batch.pk, 2)))
    assert browser.cast(poll).status_code == 202
    count()
    answer = signed_in().post(page("invite_count", poll, batch.pk), follow=True)
    assert "1 of the 3 invites in “Jury” has a counted ballot in round 1." in answer.content.decode()


def test_the_view_permission_shows_no_links(poll: Poll) -> None:
    batch = invites.make_batch(poll.pk, 1, by="x")
    client = signed_in("view_poll")
    assert client.get(page("invites", poll)).status_code == 200
    for name, method in (("invite_links", "get"), ("invite_count", "post"), ("invite_revoke", "post")):
        assert getattr(client, method)(page(name, poll, batch.pk)).status_code == 403
    assert client.post(page("invites", poll), {"count": "1"}).status_code == 403
    assert InviteBatch.objects.get().revoked_at is None
    assert Client().get(page("invite_links", poll, batch.pk)).status_code == 302  # to the login


def test_the_admin_has_no_batch_of_another_poll(poll: Poll) -> None:
    batch = invites.make_batch(make_poll(identity="invite").pk, 1, by="x")
    client = signed_in()
    assert client.get(page("invite_links", poll, batch.pk)).status_code == 404
    assert client.post(page("invites", make_poll()), {"count": "1"}).status_code == 302
    assert InviteBatch.objects.count() == 1


# --- the command ---


def test_the_command_writes_a_private_file(poll: Poll, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "invites.csv"
    call_command(
        "create_invites", poll.code.lower(), count=4, label="Hall", out=out, site="https://vote.example"
    )
    rows = list(csv.reader(io.StringIO(out.read_bytes().decode())))
    assert len(rows) == 5
    assert rows[1][1].startswith(f"https://vote.example/p/{poll.code}/#i=")
    assert out.stat().st_mode & 0o777 == 0o600
    batch = InviteBatch.objects.get()
    assert (batch.count, batch.label, batch.made_by) == (4, "Hall", "command")
    assert "#i=" not in "".join(capsys.readouterr())
    with pytest.raises(CommandError, match="exists"):
        call_command("create_invites", poll.code, count=1, out=out)
    call_command("create_invites", poll.code, count=1)
    assert capsys.readouterr().out.count("#i=") == 1


@pytest.mark.parametrize(
    "options",
    [{"count": 0}, {"count": 10**7}, {"count": 1, "label": "x" * 101}, {"count": 1, "site": "vote.example"},
     {"count": 1, "site": "https://vote.example/path"}],
)  # fmt: skip
def test_the_command_refuses_invalid_options(poll: Poll, options: Any) -> None:
    with pytest.raises(CommandError):
        call_command("create_invites", poll.code, **options)
    with pytest.raises(CommandError, match="no poll"):
        call_command("create_invites", "NOTHING", count=1)
    with pytest.raises(CommandError, match="by invitation"):
        call_command("create_invites", make_poll().code, count=1)
    assert not InviteBatch.objects.exists()


def test_a_reset_keeps_the_links(poll: Poll, writer: Caller) -> None:
    batch = writer("POST", address(poll), {"count": 2}).json()["batch"]
    before = links_in(writer("GET", address(poll, batch, "links")))
    lifecycle.close_poll(poll.pk)
    count()
    lifecycle.finish_closing(poll.pk, 1, 0, {})
    lifecycle.reset_poll(poll.pk)
    assert links_in(writer("GET", address(poll, batch, "links"))) == before
