"""Files that only Landslide's user may read."""

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

#: The first file is the database. SQLite creates the other three with the same permissions.
_SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")
#: Prefixes of the names of Landslide's files in DATA_DIR.
_OWN_PREFIXES = (
    *("landslide.", "test.sqlite3", "secret_key", "audit_key", "admin-password", "audit"),
    *(".secret_key.", ".audit_key.", ".admin-password."),
)


def private_folder(folder: Path, *, public: str) -> None:
    """Create the folder, and make Landslide's files in it private, except those in its subfolder `public`.

    An earlier version or a copy may have left these files readable for others. The folder itself becomes
    private unless it contains other programs' files too (config/operations/checks.py warns of that).
    """
    with contextlib.suppress(OSError):  # the first write to the folder reports the error
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
    """Create an SQLite database's file and folder if they are missing, and make the file private."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for suffix in _SQLITE_SUFFIXES:
        _make_private(path.with_name(path.name + suffix))


def is_shared(folder: Path) -> bool:
    """Whether the folder is shared, like /tmp or /. The mode of such a folder must not change."""
    return folder == Path(folder.anchor) or bool(folder.stat().st_mode & stat.S_ISVTX)


def _make_private(path: Path) -> None:
    """Remove the permissions of group and others; skip another user's file."""
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if mode & 0o077 and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~0o077)


def private_file(path: Path, make: Callable[[], str]) -> str:
    """Return the text of `path`. If it is missing, first create it as a private file with the text `make()`.

    If several processes start at once, the first to link its file wins, and all of them read the same text.
    """
    with writable(path.parent, "DATA_DIR"):
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


@contextlib.contextmanager
def writable(folder: Path, var: str) -> Iterator[None]:
    """Turn an OSError into an error that says which variable to change."""
    try:
        yield
    except OSError as error:
        raise ImproperlyConfigured(
            f"Can't write to {folder} ({error.strerror}). Set {var} to a place that this user may write to."
        ) from None
