from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from .models import Poll, canonical_code
from .plain_text import cleaned, is_visible


class LineField(forms.CharField):
    """A line in which there is something to see, cleaned (`polls.plain_text`)."""

    default_error_messages = {"blank": _("There is nothing to see in this text.")}
    lines = False

    def to_python(self, value: Any) -> str:
        try:
            text = cleaned(super().to_python(value) or "", lines=self.lines)
        except ValueError as error:
            raise ValidationError(str(error), code="character") from None
        if text and not is_visible(text):
            raise ValidationError(self.error_messages["blank"], code="blank")
        return text


class LinesField(LineField):
    """The same, of several lines."""

    lines = True


class JoinForm(forms.Form):
    """Join by code: takes it as people type it and cleans to the poll."""

    code = forms.CharField(
        label=_("Poll code"),
        max_length=40,
        error_messages={"required": _("Type the code that is on the screen.")},
    )

    def clean_code(self) -> Poll:
        poll = Poll.objects.filter(code=canonical_code(self.cleaned_data["code"])).first()
        if poll is None:
            raise ValidationError(_("No poll with this code. Check it against the screen."), code="unknown")
        return poll
