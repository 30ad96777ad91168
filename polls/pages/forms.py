"""Form fields for what people write, and the form to join a poll."""

import re
from typing import Any
from urllib.parse import unquote

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from polls.models import Poll, canonical_code
from polls.text.plain_text import INVISIBLE_TEXT, cleaned, is_visible


class LineField(forms.CharField):
    """A line of visible text, cleaned by `polls.text.plain_text`."""

    default_error_messages = {"invisible": INVISIBLE_TEXT}

    def to_python(self, value: Any) -> str:
        try:
            text = cleaned(super().to_python(value) or "")
        except ValueError as error:
            raise ValidationError(str(error), code="character") from None
        if text and not is_visible(text):
            raise ValidationError(self.error_messages["invisible"], code="invisible")
        return text


#: These find the poll's code and the invite (polls/voters/invites.py) in a link, or in text around a link.
_CODE_IN_LINK = re.compile(r"(?:/p/|[?&]code=)([^/?#&\s]+)", re.IGNORECASE)
_INVITE_IN_LINK = re.compile(r"#i=([\w-]+)", re.ASCII | re.IGNORECASE)


class JoinForm(forms.Form):
    """Join by code or by link. After validation, `code` is the poll, and `invite` the invite or ""."""

    invite = ""
    code = forms.CharField(
        label=_("Poll code"),
        max_length=2000,
        error_messages={"required": _("Type the code that is on the screen.")},
    )

    def clean_code(self) -> Poll:
        given = unquote(unquote(self.cleaned_data["code"]))  # mail programs may have encoded the link twice
        link, invite = _CODE_IN_LINK.search(given), _INVITE_IN_LINK.search(given)
        poll = Poll.objects.filter(code=canonical_code(link[1] if link else given)).first()
        self.invite = invite[1] if invite else ""
        if poll is None:
            raise ValidationError(_("No poll with this code. Check it against the screen."), code="unknown")
        return poll
