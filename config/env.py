"""Reading the environment: settings that say what is wrong with a value, and files that are ours alone."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import stat
import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = ("true", "yes", "on", "y", "ok", "1"), ("false", "no", "off", "n", "0", "")
ZONES = Path("/usr/share/zoneinfo")
ENGINES = ("django.db.backends.sqlite3", "django.db.backends.postgresql")


class Env(environ.Env):
    """django-environ, with a sentence for a value that can't be read, or would be read as another one."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, *args, **kwargs)
        except (ValueError, TypeError) as error:
            value = os.environ.get(var, "")
            raise ImproperlyConfigured(
                f"{var}={value!r} can't be read ({error}). docs/settings.md says what it takes."
            ) from None

    def bool(self, var: str, default: Any = False) -> Any:
        """django-environ takes whatever it doesn't know for false."""
        value = self.str(var, default=str(default)).strip().lower()
        if value not in (*TRUE, *FALSE):
            raise ImproperlyConfigured(f"{var}={os.environ[var]!r} is neither true nor false.")
        return value in TRUE

    def float(self, var: str, default: Any = 0.0) -> Any:
        """django-environ drops what is no digit: 1e3 would be 13, and "5 minutes" 5."""
        value = self.str(var, default=str(default))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ImproperlyConfigured(f"{var}={value!r} is no number.")
        return number

    def database(self, var: str, default: str) -> dict[str, Any]:
        """The settings of a database that we are made for. No message shows the value, for its password."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its warning shows all that it found
                config: dict[str, Any] = self.db_url(var, default=default)
        except (ValueError, ImproperlyConfigured):
            config = {}
        named = config.get("NAME") or "service" in config.get("OPTIONS", {})
        kept_in_memory = config.get("NAME") == ":memory:"  # which is another database on each thread
        if config.get("ENGINE") not in ENGINES or not named or kept_in_memory:
            raise ImproperlyConfigured(
                f"{var} names no database that can be used. Set it to postgres://user:password@host/name, or"
                " leave it out for SQLite in DATA_DIR."
            )
        return config

    def time_zone(self, var: str, default: str) -> str:
        """The name of a time zone that this machine knows."""
        name: str = self.str(var, default=default)
        try:
            known = bool(ZoneInfo(name)) and (not ZONES.exists() or (ZONES / name).is_file())
        except (ZoneInfoNotFoundError, ValueError, OSError):
            known = False
        if not known:
            raise ImproperlyConfigured(
                f"{var}={name!r} is no time zone that this machine knows. Set it to a name such as"
                " Europe/Berlin or UTC."
            )
        return name

    def language(self, var: str, known: Collection[str], default: str) -> str:
        """One of the languages that there are; en-us is one form of en."""
        code = self.str(var, default=default)
        for language in (code, code.lower(), code.lower().replace("_", "-").partition("-")[0]):
            if language in known:
                return language
        raise ImproperlyConfigured(f"{var}={code!r} is no language that there is. Known: {', '.join(known)}.")

    def secret(self, var: str) -> str:
        """A value taken as it is: django-environ reads a leading `$` as the name of another variable."""
        return os.environ.get(var, "")


#: What SQLite keeps beside a database, with the database's own permissions where it makes them.
_BESIDE_SQLITE = ("", "-wal", "-shm", "-journal")


#: What Landslide keeps in DATA_DIR, by how its names begin.
_OURS = ("landslide.", "test.sqlite3", "secret_key", "audit_key", "admin-password", "audit", ".secret_key.",
         ".audit_key.", ".admin-password.")  # fmt: skip


def private_folder(folder: Path, *, public: str) -> None:
    """Make the folder; what Landslide keeps in it, but for the folder `public`, is its owner's alone.

    Also what an earlier version, or a copy from elsewhere, has left readable. The folder itself is closed
    unless it holds other things too: somebody may depend on these (config/operations/checks.py warns).
    """
    with contextlib.suppress(OSError):  # whoever needs to write there says so
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not folder.is_dir() or is_shared(folder):
        return
    found = [path for path in folder.iterdir() if path.name != public]
    ours = [path for path in found if path.name.startswith(_OURS)]
    if ours == found:
        _withdraw(folder)
    for path in ours:
        _withdraw(path)
        for place, folders, files in os.walk(path):
            for name in (*folders, *files):
                _withdraw(Path(place, name))


def private_database(path: Path) -> None:
    """Make an SQLite database's file, and its folder, if they are missing; the file is its owner's alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for suffix in _BESIDE_SQLITE:
        _withdraw(path.with_name(path.name + suffix))


def is_shared(folder: Path) -> bool:
    """Whether the folder is one like /tmp or /, which is not ours to close."""
    return folder == Path(folder.anchor) or bool(folder.stat().st_mode & stat.S_ISVTX)


def _withdraw(path: Path) -> None:
    """Take group's and others' rights away; what belongs to somebody else stays (config.operations.checks
    warns)."""
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if mode & 0o077 and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~0o077)


def private_file(path: Path, make: Callable[[], str]) -> str:
    """The text of `path`, which is made once, readable by its owner alone.

    Several processes may start at the same time: whoever links first wins, and all read the same text.
    """
    with usable(path.parent, "DATA_DIR"):
        return _private_text(path, make)


@contextlib.contextmanager
def usable(folder: Path, var: str) -> Iterator[None]:
    """A sentence for a folder that can't be written to."""
    try:
        yield
    except OSError as error:
        raise ImproperlyConfigured(
            f"{folder} can't be used ({error.strerror}). Set {var} to a place that this account may write to."
        ) from None


def _private_text(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make() + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
