"""Database connections in threads that outlive a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
T = TypeVar("T")


def in_thread(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call `function`, which may use the database, and leave no connection behind in this thread."""
    try:
        return function(*args, **options)
    finally:
        close_old_connections()
