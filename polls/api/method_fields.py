"""Serializer fields that the voting methods define: their config, their marks and their figures.

Each method declares types. This module makes fields with the JSON schemas of these types. Fields that are the
same for several methods appear once.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from polls.methods import METHODS


def _schema(kind: Any) -> dict[str, Any]:
    schema = msgspec.json.schema(kind)
    name = schema.pop("$ref", "").rpartition("/")[2]
    return dict(schema["$defs"][name]) if name else schema


@extend_schema_field(
    {
        "oneOf": [
            _schema(method.Config) | {"title": str(method.name)}
            for method in METHODS.values()
            if method.Config.__struct_fields__
        ]
    }
)
class ConfigField(serializers.Field[Any, Any, Any, Any]):
    """What a method lets an organiser set besides choices and limits. `polls.drafts` checks it."""

    default_error_messages = {"not_an_object": "This is not a JSON object."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            self.fail("not_an_object")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class _Described(serializers.Field[Any, Any, Any, Any]):
    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


def _described(kind: Any, text: str = "") -> _Described:
    field = _Described(required=False, help_text=text or None)
    extend_schema_field(_schema(kind))(field)  # type: ignore[type-var]
    return field


class Marks(serializers.Serializer[Any]):
    """Adds each method's field for marks. A ballot has only the field of its poll's method."""

    def get_fields(self) -> dict[str, Any]:
        marks = {method.field: _described(method.Marks, method.field_help) for method in METHODS.values()}
        return {**marks, **super().get_fields()}

    @staticmethod
    def schema() -> dict[str, Any]:
        names = dict.fromkeys(method.field for method in METHODS.values())
        return {"oneOf": [{"required": [name]} for name in names]}


class Figures(serializers.Serializer[Any]):
    """Adds the figures of all methods: those of the tally or, with `of_choices`, those of a choice."""

    of_choices = False

    def get_fields(self) -> dict[str, Any]:
        kinds: dict[str, Any] = {}
        for method in METHODS.values():
            kinds |= method.choice_figures if self.of_choices else method.poll_figures
        return {**super().get_fields(), **{name: _described(kind) for name, kind in kinds.items()}}
