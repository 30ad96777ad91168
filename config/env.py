"""Reading the environment: settings that say what is wrong with a value, and secrets kept in files."""

from __future__ import annotations

import contextlib
import os
import secrets
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


def private_file(path: Path, make: Callable[[], str]) -> str:
    """The text of `path`, which is made once, readable by its owner alone.

    Several processes may start at the same time: whoever links first wins, and all read the same text.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make() + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
