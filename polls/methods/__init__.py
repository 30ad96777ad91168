"""Voting methods: how a ballot is filled in, counted and shown.

Start with `contract.py`, which says what a method is, then `single.py`. Each method is one module here, named
like the method. Only that module knows what its ballots mean. Its functions are pure. It may import
`polls.errors` and `polls.text`. docs/adding.md shows how to add a method and its part of the pages.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import msgspec

from .contract import Method, MethodRules, RulesError, with_labels

__all__ = [
    "METHODS",
    "Method",
    "MethodRules",
    "RulesError",
    "get_method",
    "make_rules",
    "method_choices",
    "with_labels",
]

#: The registry, in the order in which people see the methods.
METHODS: dict[str, Method] = {
    name: import_module(f".{name}", __name__).METHOD
    for name in (
        "single",
        "multiple",
        "rating",
    )
}


def get_method(name: str) -> Method:
    return METHODS[name]


def method_choices() -> list[tuple[str, Any]]:
    """Return (name, label) pairs. Model fields take this function, so a new method needs no migration."""
    return [(method.name, method.label) for method in METHODS.values()]


def make_rules(
    method: Method, numbers: Iterable[int], least: int, most: int, config: Mapping[str, Any]
) -> MethodRules:
    """Return a poll's rules; raise msgspec.ValidationError if the method can't read the stored config."""
    return MethodRules(frozenset(numbers), least, most, msgspec.convert(dict(config), method.Config))
