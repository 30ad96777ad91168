"""Environment variables, with error messages that name the variable."""

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
SQLITE, POSTGRESQL = "django.db.backends.sqlite3", "django.db.backends.postgresql"
ENGINES = (SQLITE, POSTGRESQL)


class Env(environ.Env):
    """django-environ with strict parsing: a value that the library would misread is an error."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, *args, **kwargs)
        except (ValueError, TypeError) as error:
            value = os.environ.get(var, "")
            raise ImproperlyConfigured(
                f"{var}={value!r} can't be read ({error}). docs/settings.md says what it takes."
            ) from None

    def bool(self, var: str, default: Any = False) -> Any:
        """Return a boolean. django-environ reads any unknown word as false."""
        value = self.str(var, default=str(default)).strip().lower()
        if value not in (*TRUE, *FALSE):
            raise ImproperlyConfigured(f"{var}={os.environ[var]!r} is neither true nor false.")
        return value in TRUE

    def float(self, var: str, default: Any = 0.0) -> Any:
        """Return a finite number. django-environ would read 1e3 as 13 and "5 minutes" as 5."""
        value = self.str(var, default=str(default))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ImproperlyConfigured(f"{var}={value!r} is not a number.")
        return number

    def database(self, var: str, default: str) -> dict[str, Any]:
        """Return the settings of a supported database. Errors hide the value, which contains a password."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # django-environ's warning shows the value
                config: dict[str, Any] = self.db_url(var, default=default)
        except (ValueError, ImproperlyConfigured):
            config = {}
        named = config.get("NAME") or "service" in config.get("OPTIONS", {})
        kept_in_memory = config.get("NAME") == ":memory:"  # threads would have separate databases
        if config.get("ENGINE") not in ENGINES or not named or kept_in_memory:
            raise ImproperlyConfigured(
                f"{var} is not the address of a supported database."
                " Set it to postgres://user:password@host/name, or leave it out for SQLite in DATA_DIR."
            )
        return config

    def time_zone(self, var: str, default: str) -> str:
        """Return the name of a time zone that this machine knows."""
        name: str = self.str(var, default=default)
        try:
            known = bool(ZoneInfo(name)) and (not ZONES.exists() or (ZONES / name).is_file())
        except (ZoneInfoNotFoundError, ValueError, OSError):
            known = False
        if not known:
            raise ImproperlyConfigured(
                f"{var}={name!r} is not a time zone that this machine knows. Set it to a name such as"
                " Europe/Berlin or UTC."
            )
        return name

    def language(self, var: str, known: Collection[str], default: str) -> str:
        """Return one of the `known` languages; en-us is read as en if only en is known."""
        code = self.str(var, default=default)
        for language in (code, code.lower(), code.lower().replace("_", "-").partition("-")[0]):
            if language in known:
                return language
        raise ImproperlyConfigured(f"{var}={code!r} is not an available language. Known: {', '.join(known)}.")

    def secret(self, var: str) -> str:
        """Return the value unchanged. django-environ would replace a value like `$x` by the variable x."""
        return os.environ.get(var, "")
