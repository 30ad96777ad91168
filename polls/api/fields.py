"""Strict serializer fields, which refuse ambiguous input."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from polls.text.plain_text import INVISIBLE_TEXT, cleaned, is_visible
from polls.text.timestamps import OUT_OF_BOUNDS, in_bounds
from polls.voters.networks import canonical_networks


class Text(serializers.CharField):
    """A JSON string with visible characters, on one or several `lines`. DRF would also accept a number."""

    default_error_messages = {"invisible": INVISIBLE_TEXT}

    def __init__(self, *, lines: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.lines = lines

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            text = cleaned(super().to_internal_value(data), lines=self.lines)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None
        if is_visible(text):
            return text
        if not self.allow_blank:
            self.fail("invisible")
        return ""


class Whole(serializers.IntegerField):
    """A JSON integer; DRF would also accept "5"."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not (
            isinstance(data, int) or (isinstance(data, float) and data.is_integer())
        ):
            self.fail("invalid")
        return super().to_internal_value(int(data))


class Flag(serializers.BooleanField):
    """A JSON boolean; DRF would also accept "yes"."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Pick(serializers.ChoiceField):
    """A choice whose error message lists the valid values."""

    default_error_messages = {"invalid_choice": gettext_lazy('"{input}" is none of these: {choices}.')}

    def fail(self, key: str, **values: Any) -> NoReturn:
        super().fail(key, choices=", ".join(map(str, self.choices)), **values)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class Moment(serializers.DateTimeField):
    """A time in RFC 3339 with a time zone, within the bounds of `polls.text.timestamps`."""

    default_error_messages = {
        "invalid": gettext_lazy("This is not a time in RFC 3339, such as 2030-06-30T10:00:00Z."),
        "naive": gettext_lazy("The time zone is missing: end with Z or an offset."),
        "outside": OUT_OF_BOUNDS,
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=UTC, **options)

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str):
            self.fail("invalid")
        try:
            moment = msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            self.fail("invalid")
        if moment.tzinfo is None:
            self.fail("naive")
        if not in_bounds(moment):
            self.fail("outside")
        return moment.astimezone(UTC)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuse unknown fields: DRF would silently drop a misspelt one."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {name for name, field in self.fields.items() if not field.read_only}
            if unknown := sorted(set(data) - known):
                raise serializers.ValidationError(
                    {name: [_("There is no such field.")] for name in unknown[:10]}
                )
        return super().to_internal_value(data)


class Networks(serializers.ListField):
    """A list of networks in canonical form. The error quotes the item that isn't a network."""

    child = Text(max_length=60)

    def to_internal_value(self, data: Any) -> list[str]:
        texts: list[str] = super().to_internal_value(data)
        try:
            return canonical_networks(texts)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None
