"""Accounts and groups in the admin: only superusers grant rights or change accounts with more rights."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from polls import lifecycle
from polls.models import ApiClient
from tests.admins import staff
from tests.polls.api_client import make_poll

pytestmark = [pytest.mark.django_db, pytest.mark.full_only]

USERS, GROUPS, LIST = "/admin/auth/user/", "/admin/auth/group/", "/admin/polls/apiclient/"
MANAGER = ("add_user", "change_user", "delete_user", "view_user", "view_poll")


def permission(name: str) -> Permission:
    return Permission.objects.get(codename=name)


@pytest.fixture
def manager() -> Client:
    return staff(*MANAGER, "add_group", "change_group", "view_group")


def everything(account: User, **fields: Any) -> dict[str, Any]:
    """Return all fields that a forged form of this account could have."""
    rights = {"is_staff": "on", "is_superuser": "on", "is_active": "on"}
    lists = {
        "groups": [group.pk for group in Group.objects.all()],
        "user_permissions": [permission(name).pk for name in ("delete_poll", "change_poll", "view_poll")],
    }
    return {"username": account.username, "first_name": "Changed"} | rights | lists | fields


def rights(account: User) -> tuple[Any, ...]:
    account = User.objects.get(pk=account.pk)
    return account.is_staff, account.is_superuser, sorted(account.get_all_permissions())


def page_of(account: User, page: str = "change") -> str:
    return f"{USERS}{account.pk}/{page}/"


def test_account_managers_cannot_grant_rights(manager: Client) -> None:
    group = Group.objects.create(name="organisers")
    group.permissions.add(permission("delete_poll"))
    voter, myself = User.objects.create_user("voter"), User.objects.get(username="colleague")
    for account in (voter, myself):
        before = rights(account)
        answer = manager.post(page_of(account), everything(account))
        assert answer.status_code == 302, answer.context["errors"]
        assert User.objects.get(pk=account.pk).first_name == "Changed"
        assert rights(account) == before
    answer = manager.post(
        f"{USERS}add/", everything(User(username="new"), password1="x7!long", password2="x7!long")
    )
    assert not User.objects.filter(username="new", is_staff=True).exists()
    assert manager.post(f"{GROUPS}{group.pk}/change/", {"name": "all", "permissions": []}).status_code == 302
    assert Group.objects.get().permissions.get().codename == "delete_poll"
    manager.post(f"{GROUPS}add/", {"name": "mine", "permissions": [permission("delete_poll").pk]})
    assert not Group.objects.get(name="mine").permissions.exists()


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("more", ["superuser", "permission", "group"])
def test_account_managers_cannot_change_accounts_with_more_rights(
    manager: Client, more: str, active: bool
) -> None:
    other = User.objects.create_user(
        "other", password="kept", is_active=active, is_superuser=more == "superuser"
    )
    if more == "permission":
        other.user_permissions.add(permission("delete_poll"))
    elif more == "group":
        group = Group.objects.create(name="organisers")
        group.permissions.add(permission("delete_poll"))
        other.groups.add(group)
    assert manager.get(page_of(other)).status_code == 200  # read-only
    assert manager.post(page_of(other), everything(other)).status_code == 403
    password = {"password1": "taken-over-7", "password2": "taken-over-7", "usable_password": "true"}
    assert manager.post(page_of(other, "password"), password).status_code == 403
    assert manager.post(page_of(other, "delete"), {"post": "yes"}).status_code == 403
    bulk = {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"}
    assert manager.post(USERS, bulk).status_code == 403
    kept = User.objects.get(pk=other.pk)
    assert (kept.check_password("kept"), kept.is_active, kept.first_name) == (True, active, "")


def test_account_managers_can_change_accounts_with_fewer_rights(manager: Client) -> None:
    other = User.objects.create_user("other", is_staff=True)
    other.user_permissions.add(permission("view_poll"))
    password = {"password1": "another-one-7", "password2": "another-one-7", "usable_password": "true"}
    assert manager.post(page_of(other, "password"), password).status_code == 302
    assert User.objects.get(pk=other.pk).check_password("another-one-7")
    assert manager.post(page_of(other, "delete"), {"post": "yes"}).status_code == 302


def test_a_superuser_can_grant_every_right(boss: Client) -> None:
    voter = User.objects.create_user("voter")
    assert boss.post(page_of(voter), everything(voter)).status_code == 302
    assert rights(voter)[:2] == (True, True)


@pytest.mark.parametrize("bulk", [False, True])
def test_no_account_is_deleted_while_it_could_vote_twice(boss: Client, bulk: bool) -> None:
    poll = make_poll(identity="login", question="Who?")
    make_poll(open=True)  # not a poll for accounts
    voter = User.objects.create_user("voter")
    marked = {"action": "delete_selected", "_selected_action": [voter.pk]}
    ask, act = (USERS, {**marked, "post": "yes"}) if bulk else (page_of(voter, "delete"), {"post": "yes"})

    def asked() -> str:
        answer = boss.post(ask, marked) if bulk else boss.get(ask)
        return str(answer.content.decode())

    assert "another voter" in asked() and 'name="post"' in asked()
    lifecycle.open_poll(poll.pk)
    assert "with a second ballot" in asked() and "Who?" in asked() and 'name="post"' not in asked()
    boss.post(ask, act)
    assert User.objects.filter(pk=voter.pk).exists()
    lifecycle.close_poll(poll.pk)
    boss.post(ask, act)
    assert not User.objects.filter(pk=voter.pk).exists()


def test_no_url_contains_the_hash_of_a_key(boss: Client) -> None:
    made, key = ApiClient.objects.create_key(name="TV", scopes=["polls:read"])
    assert ApiClient.objects.get_from_key(key) == made
    change = f"{LIST}{made.prefix}/change/"
    form = {"name": "Telly", "scopes": ["polls:read"], "expiry_date_0": "", "expiry_date_1": ""}
    assert boss.post(change, form).status_code == 302
    for page in (
        "/admin/polls/apiclient/",
        change,
        f"/admin/polls/apiclient/{made.prefix}/history/",
        "/admin/",
    ):
        content = boss.get(page).content.decode()
        assert made.hashed_key not in content and made.hashed_key.partition("$")[2] not in content, page
    assert change in boss.get(LIST).content.decode()


@pytest.mark.parametrize("name", ["\u3164", "\uffa0", "\u115f"], ids=ascii)
def test_an_invisible_user_name_is_refused(boss: Client, name: str) -> None:
    answer = boss.post(f"{USERS}add/", {"username": name, "password1": "x7!long", "password2": "x7!long"})
    assert "username" in answer.context["adminform"].form.errors


@pytest.mark.parametrize("text", ["\u200b", "\u202eanna", "an\x1bna", "an\u2028na"], ids=ascii)
def test_names_are_single_lines_with_visible_characters(boss: Client, text: str) -> None:
    anna = User.objects.create_user("anna", first_name="Anna")
    for field in ("first_name", "last_name"):
        answer = boss.post(page_of(anna), {"username": "anna", field: text})
        assert field in answer.context["adminform"].form.errors
    assert "name" in boss.post(f"{GROUPS}add/", {"name": text}).context["adminform"].form.errors
    boss.post(page_of(anna), {"username": "anna", "first_name": " Ann\u0061\u0300 "})
    anna.refresh_from_db()
    assert (anna.username, anna.first_name) == ("anna", "Annà")
