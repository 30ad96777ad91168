"""JSON in which no object has a member twice: which of the two is meant would be a guess (RFC 8259, 4)."""

from __future__ import annotations

import json
from typing import Any


class DuplicateMember(ValueError):
    """An object has two members of this name."""


def refuse_duplicates(text: bytes) -> None:
    """DuplicateMember where an object anywhere in `text`, which is valid JSON, has a member twice."""
    # Numbers stay texts: what they say doesn't matter here, and a long one costs nothing.
    json.loads(text.decode(), object_pairs_hook=_once, parse_int=str, parse_float=str)


def _once(members: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise DuplicateMember(f"{name[:40]!r} comes twice in one object.")
        seen.add(name)
