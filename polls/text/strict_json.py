"""Refuse JSON with duplicate object members, whose meaning is undefined (RFC 8259, section 4)."""

import json
from typing import Any


class DuplicateMember(ValueError):
    """An object has two members of the same name."""


def refuse_duplicates(text: bytes) -> None:
    """Raise DuplicateMember if any object in `text`, which must be valid JSON, has a member twice."""
    # Numbers aren't parsed, since their values don't matter here and long ones are expensive.
    json.loads(text.decode(), object_pairs_hook=_once, parse_int=str, parse_float=str)


def _once(members: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise DuplicateMember(f"{name[:40]!r} comes twice in one object.")
        seen.add(name)
