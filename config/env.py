"""Reading the environment: settings that say what is wrong with a value, and files that are ours alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured


class Env(environ.Env):
    """django-environ, with a sentence for a value that can't be read."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, *args, **kwargs)
        except (ValueError, TypeError) as error:
            value = os.environ.get(var, "")
            raise ImproperlyConfigured(
                f"{var}={value!r} can't be read ({error}). docs/settings.md says what it takes."
            ) from None

    def secret(self, var: str) -> str:
        """A value taken as it is: django-environ reads a leading `$` as the name of another variable."""
        return os.environ.get(var, "")


#: What SQLite keeps beside a database, with the database's own permissions where it makes them.
_BESIDE_SQLITE = ("", "-wal", "-shm", "-journal")


def private_folder(folder: Path, *, public: str) -> None:
    """Make the folder; what is in it, but for the folder `public`, is nobody's but its owner's.

    Also what an earlier version, or a copy from elsewhere, has left readable.
    """
    with contextlib.suppress(OSError):  # whoever needs to write there says so
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not folder.is_dir() or is_shared(folder):
        return
    _withdraw(folder)
    for place, folders, files in os.walk(folder):
        if Path(place) == folder and public in folders:
            folders.remove(public)
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
    """Take group's and others' rights away; what belongs to somebody else stays (config/checks.py warns)."""
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if mode & 0o077 and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~0o077)


def private_file(path: Path, make: Callable[[], str]) -> str:
    """The text of `path`, which is made once, readable by its owner alone.

    Several processes may start at the same time: whoever links first wins, and all read the same text.
    """
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
