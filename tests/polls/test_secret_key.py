"""A process whose SECRET_KEY isn't the one that the database's polls were made with."""

import builtins
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from analytics import receivers
from config.serving import prepare
from polls import keys, lifecycle, secret_key
from polls.errors import SecretKeyDiffers
from polls.models import Installation, Poll, Record
from polls.signals import poll_changed
from polls.voters import identity
from polls.voters.poll_rules import get_rules
from tests.factories import cast, make_poll, open_poll

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(settings: Any) -> Any:
    def use(key: str, *fallbacks: str) -> None:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, list(fallbacks)

    return use


def test_the_first_key_is_stored_and_another_refused(key: Any) -> None:
    key("one")
    assert secret_key.secret_key_is_known()  # none is stored yet
    prepare.check_secret_key()
    prepare.check_secret_key()
    key("two")
    assert not secret_key.secret_key_is_known()
    with pytest.raises(CommandError, match="SECRET_KEY_FALLBACKS"):
        prepare.check_secret_key()
    with pytest.raises(SystemExit, match="SECRET_KEY"):
        receivers.refuse_another_secret_key()
    key("one")
    prepare.check_secret_key()


def test_a_new_key_replaces_one_of_its_fallbacks(key: Any) -> None:
    key("old")
    secret_key.check_secret_key()
    key("old", "new")  # first step of a rollout: all processes know both
    secret_key.check_secret_key()
    key("new", "old")
    secret_key.check_secret_key()
    key("old", "new")
    assert secret_key.secret_key_is_known()
    key("old")
    with pytest.raises(SecretKeyDiffers):
        secret_key.check_secret_key()


def test_the_fingerprint_is_32_digits(key: Any) -> None:
    key("one")
    secret_key.check_secret_key()
    (row,) = Installation.objects.all()
    assert len(row.secret_key_fingerprint) == 32
    assert row.secret_key_fingerprint != keys.fingerprint("One")


def test_the_command_replaces_a_lost_key(key: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    poll = open_poll()
    key("one")
    secret_key.check_secret_key()
    call_command("adopt_secret_key")
    assert "Nothing to do" in capsys.readouterr().out
    key("two")
    monkeypatch.setattr(builtins, "input", lambda _question: "n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("adopt_secret_key")
    assert poll.code in capsys.readouterr().out
    assert not secret_key.secret_key_is_known()
    call_command("adopt_secret_key", "--yes")
    secret_key.check_secret_key()
    assert Record.objects.filter(action="secret key adopted").exists()


# --- voter keys ---


def login_key(poll: Poll) -> bytes:
    return identity.login_key(Poll.objects.get(pk=poll.pk).voter_secret(), 7)


def test_the_database_alone_links_no_account_to_a_ballot(key: Any) -> None:
    key("one")
    poll = open_poll(identity="login")
    ours = login_key(poll)
    assert ours != identity.login_key(bytes(poll.secret), 7)
    key("two")  # the same database with a guessed key
    with pytest.raises(SecretKeyDiffers):
        login_key(poll)


def test_voter_keys_outlive_a_change_of_the_key_until_the_next_round(key: Any) -> None:
    key("old")
    poll = open_poll(identity="login")
    before = login_key(poll)
    for keys_in_use in (("old", "new"), ("new", "old")):
        key(*keys_in_use)
        assert login_key(poll) == before
    lifecycle.reset_poll(poll.pk)
    key("new")
    assert login_key(poll) != before


def test_voter_keys_of_an_earlier_versions_round_stay(key: Any) -> None:
    poll = open_poll(identity="login")
    Poll.objects.update(secret_key_fingerprint="")
    key("one")
    assert login_key(poll) == identity.login_key(bytes(poll.secret), 7)
    lifecycle.reset_poll(poll.pk)
    assert login_key(poll) != identity.login_key(bytes(poll.secret), 7)


@pytest.mark.django_db(transaction=True)
def test_an_open_poll_whose_key_is_lost_accepts_no_ballots(key: Any, capsys: Any, caplog: Any) -> None:
    key("one")
    secret_key.check_secret_key()
    poll, draft = open_poll(), make_poll()
    cookie = identity.new_cookie()
    assert cast(poll, [1], cookie)[0] == 202
    key("two")
    call_command("adopt_secret_key", "--yes")
    assert f"until a reset: {poll.code}." in capsys.readouterr().out
    poll_changed.send(sender=Poll, poll_id=poll.pk)
    assert cast(poll, [1], identity.new_cookie())[1]["code"] == "secret_key_differs"
    assert Poll.objects.get(pk=draft.pk).secret_key_fingerprint == keys.newest_fingerprint()
    secret_key.check_secret_key()
    assert "secret_key_of_open_polls_missing" in caplog.text
    lifecycle.reset_poll(poll.pk)
    lifecycle.open_poll(poll.pk)
    assert cast(poll, [1], identity.new_cookie())[0] == 202


def test_a_draft_opens_with_the_newest_key(key: Any) -> None:
    key("old")
    draft = make_poll()
    key("new", "old")
    secret_key.check_secret_key()
    key("new")
    lifecycle.open_poll(draft.pk)
    assert secret_key.polls_with_lost_key() == []
    assert get_rules(draft.code, fresh=True).voter_secret
