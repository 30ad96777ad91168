"""Voting methods: how a ballot is filled in and counted.

Start with `single.py`. A method is a module of pure functions, without I/O, and only it knows what its
selections mean. It may import `polls.errors` and `polls.text`. Its names:

    NAME, LABEL           its stable name, and what people read
    SHARE_BASE            what 100 % of a share is: "ballots" (= voters)
    default_limits(count) (least, most) selections of a new poll with this many choices
    check_rules(rules)    raise ValueError if the poll's rules make no sense
    check(rules, marks)   the selection in canonical form, or InvalidSelection
    contribution(sel)     the tally keys to which one ballot adds 1; a key that is listed twice gets 2
    votes(rules, counts)  votes per choice number, from the tally's counts
    winners(votes)        the winning choice numbers, ties together

A selection is a tuple of ints; `encode`/`decode` are its stored form.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from . import multiple, single

Selection = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MethodRules:
    """The choices and limits of a poll, as its method sees them."""

    numbers: frozenset[int]
    min_selections: int = 1
    max_selections: int = 1


class Method(Protocol):
    NAME: str
    LABEL: Any
    SHARE_BASE: str

    def default_limits(self, count: int) -> tuple[int, int]: ...
    def check_rules(self, rules: MethodRules) -> None: ...
    def check(self, rules: MethodRules, marks: list[int]) -> Selection: ...
    def contribution(self, selection: Selection) -> Iterable[str]: ...
    def votes(self, rules: MethodRules, counts: Mapping[str, int]) -> dict[int, int]: ...
    def winners(self, votes: Mapping[int, int]) -> list[int]: ...


METHODS: dict[str, Method] = {module.NAME: cast(Method, module) for module in (single, multiple)}


def get_method(name: str) -> Method:
    return METHODS[name]


def method_choices() -> list[tuple[str, Any]]:
    """Return (name, label) pairs. Model fields take this function, so a new method needs no migration."""
    return [(method.NAME, method.LABEL) for method in METHODS.values()]


def encode(selection: Selection) -> str:
    return ",".join(map(str, selection))


def decode(text: str) -> Selection:
    """Return the selection of a stored text; raise ValueError if it isn't a list of numbers."""
    return tuple(map(int, text.split(",")))
