"""A form field for networks, separated by white space, commas or semicolons."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from unfold.widgets import UnfoldAdminTextareaWidget

from polls.voters.networks import canonical_networks


class NetworksField(forms.CharField):
    """A list of networks in canonical form."""

    widget = UnfoldAdminTextareaWidget

    def __init__(self, **options: Any) -> None:
        # No max_length, because browsers would silently truncate pasted text.
        super().__init__(required=False, validators=[MaxLengthValidator(10_000)], **options)
        self.widget.attrs |= {"rows": 3, "spellcheck": "false", "autocomplete": "off"}

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return canonical_networks(part for part in re.split(r"[\s,;]+", text) if part)
        except ValueError as error:
            raise ValidationError(str(error)) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return list(initial or []) != self.clean(data)
        except ValidationError:
            return True
