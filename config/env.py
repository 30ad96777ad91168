"""Reading the environment: settings that say what is wrong with a value."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Collection
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
