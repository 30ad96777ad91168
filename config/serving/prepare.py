"""Checks of the stores before serving, and the demo polls and admin account of `make run`."""

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
    """The admin account, with its password if Landslide generated it."""

    name: str
    password: str | None
    note: str = ""


@contextmanager
def report_database_errors() -> Iterator[None]:
    """Turn database errors into a CommandError."""
    try:
        yield
    except DatabaseError as error:
        raise CommandError(
            f"The database doesn't answer: {str(error).strip()}\nCheck DATABASE_URL and the server."
        ) from None


def check_database() -> None:
    """Refuse to serve without a database or with pending migrations."""
    with report_database_errors():
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        raise CommandError(
            f"{len(pending)} migrations haven't been applied to this database.\n"
            "Run `python manage.py migrate` first, or serve with --prepare."
        )


def check_vote_log() -> None:
    """Refuse to serve with a vote log that may lose acknowledged ballots."""
    try:
        checkpoints.verify()
    except LogUnsuitable as error:
        hint = f"\nHint: {error.hint}" if error.hint else ""
        raise CommandError(f"The vote log is not safe to use: {error.detail}{hint}") from None
    except STORE_ERRORS as error:
        raise CommandError(
            f"The vote log doesn't answer: {str(error).strip()}\nCheck REDIS_URL and the server."
        ) from None


def check_secret_key() -> None:
    """Refuse to serve with a different SECRET_KEY: known voters would count as new and could vote again."""
    try:
        secret_key.check_secret_key()
    except SecretKeyDiffers:
        raise CommandError(
            "This database's voters are known by another SECRET_KEY: every browser could vote twice.\n"
            "Hint: set SECRET_KEY to the key of the other processes. If you have changed the key, add the "
            "old one to SECRET_KEY_FALLBACKS. If it is lost, run: python manage.py adopt_secret_key"
        ) from None


def close_database_connections() -> None:
    """Close all connections: a supervisor needs none."""
    connections.close_all()
    if hasattr(connection, "close_pool"):
        connection.close_pool()


def prepare_demo() -> Account:
    with report_database_errors():
        connection.ensure_connection()
    call_command("migrate", interactive=False, verbosity=0)
    check_vote_log()
    # Hide the log lines of seeding: a newcomer should see the addresses first.
    with quiet("polls.audit_log"), quiet("analytics.audit.bundles"):
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
    """Create the account on the first run. Later runs change its password only if ADMIN_PASSWORD is set."""
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
            return Account(ADMIN, None, "unchanged: the one you set")
    return Account(ADMIN, None, "the one in ADMIN_PASSWORD") if given else Account(ADMIN, password)
