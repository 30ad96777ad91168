"""Files that are ours alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

#: What SQLite keeps beside a database, with the database's own permissions where it makes them.
_SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")


#: What Landslide keeps in DATA_DIR, by how its names begin.
_OWN_PREFIXES = (
    *("landslide.", "test.sqlite3", "secret_key", "audit_key", "admin-password", "audit"),
    *(".secret_key.", ".audit_key.", ".admin-password."),
)


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
    ours = [path for path in found if path.name.startswith(_OWN_PREFIXES)]
    if ours == found:
        _make_private(folder)
    for path in ours:
        _make_private(path)
        for place, folders, files in os.walk(path):
            for name in (*folders, *files):
                _make_private(Path(place, name))


def private_database(path: Path) -> None:
    """Make an SQLite database's file, and its folder, if they are missing; the file is its owner's alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for suffix in _SQLITE_SUFFIXES:
        _make_private(path.with_name(path.name + suffix))


def is_shared(folder: Path) -> bool:
    """Whether the folder is one like /tmp or /, which is not ours to close."""
    return folder == Path(folder.anchor) or bool(folder.stat().st_mode & stat.S_ISVTX)


def _make_private(path: Path) -> None:
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
    with writable(path.parent, "DATA_DIR"):
        return _private_text(path, make)


@contextlib.contextmanager
def writable(folder: Path, var: str) -> Iterator[None]:
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
