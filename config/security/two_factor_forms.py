"""The forms of the two-factor pages: a code, a password."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from polls import two_factor


class CodeForm(forms.Form):
    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=40,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )

    def add_refusal(self, user: Any) -> None:
        """Add an error that says why the code was refused and when to try again."""
        until = two_factor.locked_until(user, self.cleaned_data["code"])
        seconds = max(1, round((until - timezone.now()).total_seconds())) if until else 0
        if seconds > 2:  # a shorter pause is over before anybody has typed another code
            wait = ngettext(
                "That code wasn't accepted. Try again in %(seconds)s second.",
                "That code wasn't accepted. Try again in %(seconds)s seconds.",
                seconds,
            )
            self.add_error("code", wait % {"seconds": seconds})
        else:
            text = _(
                "That code wasn't accepted. Each code works once: if you have used it, wait for the next."
            )
            self.add_error("code", text)


class PasswordForm(forms.Form):
    password = forms.CharField(
        label=gettext_lazy("Your password"),
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password", "autofocus": True}),
    )

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.POST if request.method == "POST" else None)
        self.request = request

    def clean_password(self) -> str:
        """Check the password as a login does, so that guessing here leads to a lockout too."""
        password: str = self.cleaned_data["password"]
        name = self.request.user.get_username()
        if authenticate(self.request, username=name, password=password) != self.request.user:
            raise forms.ValidationError(_("That isn't your password."))
        return password
