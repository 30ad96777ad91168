"""A poll's choices as rows of text inputs, one per choice.

This isn't an inline of model forms, for two reasons: `polls.drafts` assigns the numbers, and an inline fails
on rows that someone else has removed in the meantime.
"""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.widgets import BASE_INPUT_CLASSES

from polls.models import Choice
from polls.pages.forms import LineField
from polls.text.plain_text import on_one_line
from polls.text.truncation import shortened

ROWS_AT_LEAST = 4
LABEL_LENGTH = Choice._meta.get_field("label").max_length or 200


class ChoiceRows(forms.Widget):
    """One text input per choice, all with the same name. Empty inputs are ignored."""

    template_name = "admin/polls/poll/choice_rows.html"

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        return data.getlist(name) if hasattr(data, "getlist") else list(data.get(name) or [])

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return name not in data

    def id_for_label(self, id_: str | None) -> str:
        return f"{id_}_1" if id_ else ""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        labels = [on_one_line(label) for label in value or [] if label.strip()]
        context["rows"] = labels + [""] * max(1, ROWS_AT_LEAST - len(labels))
        context["input_classes"] = " ".join(BASE_INPUT_CLASSES)
        return context

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        # The forms' renderer isn't used, because it doesn't find the project's templates.
        return render_to_string(self.template_name, self.get_context(name, value, attrs))


class ChoicesField(forms.Field):
    """The labels in order, without empty ones. `polls.drafts` checks whether the labels suit the poll."""

    widget = ChoiceRows
    line = LineField(required=False)
    default_error_messages = {
        "too_long": _("“%(label)s” is too long: a choice has at most %(most)s characters.")
    }

    def to_python(self, value: Sequence[str] | None) -> list[str]:
        """Clean each label and drop empty rows. An error names the number of its row."""
        labels: list[str] = []
        for text in value or []:
            try:
                label = self.line.clean(text)
            except ValidationError as error:
                message = _("Choice %(number)s: %(error)s")
                raise ValidationError(
                    message, params={"number": len(labels) + 1, "error": error.messages[0]}
                ) from None
            if label:
                labels.append(label)
        return labels

    def validate(self, value: list[str]) -> None:
        super().validate(value)
        for label in value:
            if len(label) > LABEL_LENGTH:
                raise ValidationError(
                    self.error_messages["too_long"],
                    code="too_long",
                    params={"label": shortened(label, 40), "most": LABEL_LENGTH},
                )

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return list(initial or []) != self.to_python(data)
        except ValidationError:
            return True
