"""The interface of a voting method. Other packages use methods only through this interface.

A ballot's selection is stored as text: its marks in canonical order, separated by commas, at most 400
characters. The tally has a counter for each key, and `cells` says what a ballot adds to which counters. A
tally is therefore a sum over ballots: a recount can add it up again, and a replaced ballot can be subtracted.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import msgspec


class NoConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The config of a method that has nothing to set beyond the choices and the limits."""


NO_CONFIG = NoConfig()


@dataclass(frozen=True, slots=True)
class MethodRules:
    """The choices, limits and config of a poll, as its method sees them."""

    numbers: frozenset[int]
    #: The minimum and maximum number of marks on a ballot.
    min_selections: int = 1
    max_selections: int = 1
    config: Any = NO_CONFIG


class RulesError(ValueError):
    """The rules make no sense: a sentence that says why, and the field of the poll to change."""

    def __init__(self, sentence: str, field: str = "max_selections") -> None:
        super().__init__(sentence)
        self.field = field


class ResultRow(NamedTuple):
    """A row of a result's table: a label, whether it won, and its figures as numbers or texts."""

    label: str
    won: bool
    figures: list[Any]


class ResultTable(NamedTuple):
    """A result as a table for pages. The first heading is above the labels."""

    head: list[str]
    rows: list[ResultRow]


class Method(ABC):
    """A voting method, without state: the functions of a method are pure."""

    #: The stable name, and the name that people read.
    name: ClassVar[str]
    label: ClassVar[Any]
    #: The field that holds the marks in a ballot's document, and the type of its value: a tuple, a text or a
    #: dict.
    field: ClassVar[str]
    Marks: ClassVar[Any]
    field_help: ClassVar[str]
    #: The types of the figures that `figures` returns, by name, for the API's description: those of the
    #: tally, and those of each choice.
    poll_figures: ClassVar[Mapping[str, Any]] = {}
    choice_figures: ClassVar[Mapping[str, Any]] = {}
    min_choices: ClassVar[int] = 2
    #: What an organiser sets besides choices and limits: stored as JSON, and frozen when a round opens.
    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    #: Label and help text of each field of Config, by name. If a field's value is one of several texts: the
    #: label of each value.
    config_texts: ClassVar[Mapping[str, tuple[Any, Any]]] = {}
    config_values: ClassVar[Mapping[str, Any]] = {}
    #: The style sheet of its form on the voter's page, if it has one.
    stylesheet: ClassVar[str] = ""
    #: Texts for the scripts of the pages, as in polls.pages.script_messages.
    texts: ClassVar[Mapping[str, Any]] = {}

    def complete(self, config: Any) -> Any:
        """Return a config as it is stored, with defaults for missing values."""
        return config

    @abstractmethod
    def default_limits(self, count: int) -> tuple[int, int]:
        """Return the minimum and maximum number of marks for a new poll with `count` choices."""

    @abstractmethod
    def check_rules(self, rules: MethodRules) -> None:
        """Raise RulesError if the poll's rules make no sense."""

    @abstractmethod
    def check(self, rules: MethodRules, marks: Any) -> str:
        """Return these marks as a stored selection; raise InvalidSelection if the rules don't allow them."""

    @abstractmethod
    def decode(self, selection: str) -> Any:
        """Return the marks of a stored selection; raise ValueError if it can't be read."""

    def is_canonical(self, rules: MethodRules, selection: str) -> bool:
        """Return whether a selection is as `check` returns it. Raises the errors of decode and check."""
        return self.check(rules, self.decode(selection)) == selection

    def has_one_mark(self, rules: MethodRules) -> bool:
        """Return whether each ballot adds to one key. A list of such ballots shows no more than the tally."""
        return False

    @abstractmethod
    def keys(self, rules: MethodRules) -> list[str]:
        """Return the tally's keys, in the order in which people read them."""

    @abstractmethod
    def key_label(self, key: str, labels: Mapping[int, str]) -> str:
        """Describe what a key counts, using the choices' labels. A damaged tally may have any key."""

    @abstractmethod
    def cells(self, selection: str) -> dict[str, int]:
        """Return what one ballot with this stored selection adds to the tally, by key."""

    @abstractmethod
    def totals(self, rules: MethodRules, counts: Mapping[str, int]) -> dict[str, Any]:
        """Return integers computed from the counts; those about choices are under `choices`, by number."""

    @abstractmethod
    def figures(self, rules: MethodRules, counts: Mapping[str, int], ballots: int) -> dict[str, Any]:
        """Return totals and figures computed from them, for the tally's document and the stored result."""

    def winners(self, rules: MethodRules, counts: Mapping[str, int]) -> list[int]:
        """Return the winning choices, all of them in a tie; none if the method names no winner."""
        return []

    @abstractmethod
    def table(self, result: Mapping[str, Any]) -> ResultTable:
        """Return a stored result as a table for pages."""

    @abstractmethod
    def sample(self, rules: MethodRules, liking: Mapping[int, float], rng: random.Random) -> Any:
        """Return the marks of a simulated voter; `liking` has a weight for each choice."""


def with_labels(document: Mapping[str, Any], choices: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Return totals or figures with `choices` as a list in this order, each with number and label."""
    if "choices" not in document:
        return dict(document)
    found = document["choices"]
    listed = [{"number": number, "label": label, **found.get(number, {})} for number, label in choices]
    return {**document, "choices": listed}
