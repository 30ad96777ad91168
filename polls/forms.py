from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from .models import Poll, canonical_code


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
