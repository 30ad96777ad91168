"""Whose SECRET_KEY a database's voters are known by, and what processes with another one do."""

import builtins
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from analytics import receivers
from config import prepare
from polls import installation
from polls.models import Installation, Record
from tests.polling import open_poll

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(settings: Any) -> Any:
    def use(key: str, *fallbacks: str) -> None:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, list(fallbacks)

    return use


def test_the_first_key_is_taken_and_another_refused(key: Any) -> None:
    key("one")
    assert installation.secret_key_is_known()  # nobody's yet
    prepare.check_secret_key()
    prepare.check_secret_key()
    key("two")
    assert not installation.secret_key_is_known()
    with pytest.raises(CommandError, match="SECRET_KEY_FALLBACKS"):
        prepare.check_secret_key()
    with pytest.raises(SystemExit, match="SECRET_KEY"):
        receivers.refuse_another_secret_key()
    key("one")
    prepare.check_secret_key()


def test_a_new_key_takes_over_where_the_old_one_is_named(key: Any) -> None:
    key("old")
    installation.check_secret_key()
    key("old", "new")  # first everywhere, so that all understand both
    installation.check_secret_key()
    key("new", "old")
    installation.check_secret_key()
    key("old", "new")
    assert installation.secret_key_is_known()
    key("old")
    with pytest.raises(installation.SecretKeyDiffers):
        installation.check_secret_key()


def test_the_fingerprint_says_nothing_of_the_key(key: Any) -> None:
    key("one")
    installation.check_secret_key()
    (row,) = Installation.objects.all()
    assert len(row.secret_key) == 32
    assert row.secret_key != installation.fingerprint("One")


def test_a_lost_key_is_given_up_when_asked_for(
    key: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = open_poll()
    key("one")
    installation.check_secret_key()
    call_command("adopt_secret_key")
    assert "Nothing to do" in capsys.readouterr().out
    key("two")
    monkeypatch.setattr(builtins, "input", lambda _question: "n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("adopt_secret_key")
    assert poll.code in capsys.readouterr().out
    assert not installation.secret_key_is_known()
    call_command("adopt_secret_key", "--yes")
    installation.check_secret_key()
    assert Record.objects.filter(action="secret key adopted").exists()
