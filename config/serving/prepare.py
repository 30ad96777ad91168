"""What must be there before serving, and what `make run` adds so that a newcomer sees something."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from analytics.counting import checkpoints
from config.private_files import private_file
from polls import secret_key
from polls.errors import LogUnsuitable, SecretKeyDiffers
from polls.votelog import STORE_ERRORS

ADMIN = "admin"


@dataclass(frozen=True)
class Account:
    """The admin account, and its password where it is ours to show."""

    name: str
    password: str | None
    note: str = ""


@contextmanager
def report_database_errors() -> Iterator[None]:
    """A sentence where it doesn't answer."""
    try:
        yield
    except DatabaseError as error:
        raise CommandError(
            f"The database doesn't answer: {str(error).strip()}\nCheck DATABASE_URL and the server."
        ) from None


def check_database() -> None:
    """Answers, and has all tables."""
    with report_database_errors():
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        raise CommandError(
            f"{len(pending)} migrations haven't been applied to this database.\n"
            "Run `python manage.py migrate` first, or serve with --prepare."
        )


def check_vote_log() -> None:
    """Refuse to acknowledge ballots into a store that may lose them."""
    try:
        checkpoints.verify()
    except LogUnsuitable as error:
        hint = f"\nHint: {error.hint}" if error.hint else ""
        raise CommandError(f"The vote log can't be trusted as it is: {error.detail}{hint}") from None
    except STORE_ERRORS as error:
        raise CommandError(
            f"The vote log doesn't answer: {str(error).strip()}\nCheck REDIS_URL and the server."
        ) from None


def check_secret_key() -> None:
    """Refuse to serve voters whom another SECRET_KEY knows: their browsers would vote once more."""
    try:
        secret_key.check_secret_key()
    except SecretKeyDiffers:
        raise CommandError(
            "This database's voters are known by another SECRET_KEY, so every browser could vote twice.\n"
            "Hint: set SECRET_KEY to the one that the other processes have, or, after a change of it, name "
            "the old one in SECRET_KEY_FALLBACKS. If it is lost: python manage.py adopt_secret_key"
        ) from None


def close_database_connections() -> None:
    """A supervisor that only watches its children holds no connection."""
    connections.close_all()
    if hasattr(connection, "close_pool"):
        connection.close_pool()


def prepare_demo() -> Account:
    with report_database_errors():
        connection.ensure_connection()
    call_command("migrate", interactive=False, verbosity=0)
    check_vote_log()
    with quiet(
        "polls.audit_log"
    ):  # they are kept, but a newcomer's first lines should be about something else
        call_command("seed_demo", verbosity=0)
    return admin_account()


@contextmanager
def quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def admin_account() -> Account:
    """Make the account on the first run; later runs change its password only to ADMIN_PASSWORD's."""
    users = get_user_model()
    user = users.objects.filter(username=ADMIN).first()
    given = settings.ADMIN_PASSWORD
    kept = settings.DATA_DIR / "admin-password"
    if user is None:
        password = given or private_file(kept, lambda: secrets.token_urlsafe(12))
        users.objects.create_superuser(username=ADMIN, password=password)
    elif given:
        if not user.check_password(given):
            user.set_password(given)
            user.save(update_fields=["password"])
    else:
        password = kept.read_text().strip() if kept.exists() else ""
        if not password or not user.check_password(password):
            return Account(ADMIN, None, "the one you set")
    return Account(ADMIN, None, "the one in ADMIN_PASSWORD") if given else Account(ADMIN, password)
