"""The form of a draft, validated by the same rules as in the API (`polls.drafts`)."""

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from polls import drafts
from polls.errors import LandslideError
from polls.methods import get_method
from polls.models import CODE_RULE, Poll, canonical_code
from polls.pages.forms import LineField
from polls.text.plain_text import on_one_line

from . import config_fields
from .choices import ChoicesField
from .networks import NetworksField

#: The model's fields that a draft's form may change.
FIELDS = [
    "question",
    "code",
    "method",
    "min_selections",
    "max_selections",
    "revote",
    "results_visible",
    "opens_at",
    "closes_at",
    "expected_turnout",
    "identity",
    "venue_networks",
    "over_limit",
    "proof_of_work",
    "release_step",
]
#: The form's names of fields that have a different name in the API, by the name in the API.
FORM_NAMES = {"choices": "labels"}
LIMITS = ("min_selections", "max_selections")
#: A form with the fields of the methods' configs.
ConfigForm: Any = type("ConfigForm", (forms.Form,), dict(config_fields.make_fields()))


class PollForm(ConfigForm, forms.ModelForm):
    labels = ChoicesField(
        label=_("Choices"),
        help_text=_(
            "Enter one choice per row, in the order in which voters see them. If you paste several lines,"
            " each line becomes a row."
        ),
    )

    venue_networks = NetworksField(
        label=_("Venue networks"),
        help_text=_(
            "Networks of halls, offices and schools in which many voters share an address, such as"
            " 198.51.100.0/24 or 2001:db8:5::/48, one per line. Only the limit per voter applies there. Can"
            " be changed at any time."
        ),
    )

    #: Why saving was refused although the form is valid.
    refusal: LandslideError | None = None

    class Meta:
        model = Poll
        fields = FIELDS
        field_classes = {"question": LineField}
        widgets = {"question": UnfoldAdminTextInputWidget(attrs={"dir": "auto"})}
        help_texts = {
            "min_selections": _("The fewest choices that a ballot may select. Empty: the method's default."),
            "max_selections": _("The most choices that a ballot may select. Empty: the method's default."),
            "identity": _(
                "Only accounts and invites identify voters: in an open poll, a person with two browsers"
                " can cast two ballots. The voter's page says how voters are identified."
            ),
            "over_limit": _(
                "What happens to ballots when one address or network sends too many. Can be changed at any"
                " time."
            ),
            "release_step": _(
                "While the poll is open, the tally that everyone sees (staff too) changes by at least this"
                " many ballots at a time. So nobody can find out by watching who voted for what. The first"
                " figures appear after twice this number of ballots. 1: every ballot shows at once. For small"
                " polls, 5 to 20 is sensible."
            ),
            "results_visible": _("Who sees the tally. Staff always do. Can be changed at any time."),
            "opens_at": _("When the poll opens by itself. Empty: you open it by hand."),
            "closes_at": _("When the poll closes by itself. Empty: you close it by hand."),
            "expected_turnout": _(
                "Roughly how many voters you expect. The vote log reserves memory for them, but the poll"
                " accepts more. Set it if you expect more than about ten thousand voters."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "labels" in self.fields:
            self.initial["question"] = on_one_line(self.instance.question)
            self.initial.setdefault("labels", [choice.label for choice in self.instance.choices.all()])
            self.initial = {**config_fields.initial_of(self.instance), **self.initial}
            if self.instance.round > 1:
                self.fields["labels"].help_text = _(
                    "Voters have seen these choices. A choice keeps its number while its text stays the same;"
                    " a changed text is a new choice."
                )

        for name in LIMITS:
            if name in self.fields:
                self.fields[name].required = False
                if not self.instance.pk:
                    self.initial[name] = None

    def clean(self) -> dict[str, Any]:
        """Fill empty limits with the method's defaults."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "method" in cleaned and "labels" in cleaned:
            defaults = get_method(cleaned["method"]).default_limits(len(cleaned["labels"]))
            for name, default in zip(LIMITS, defaults, strict=True):
                if name in cleaned and cleaned[name] is None:
                    cleaned[name] = default
        return cleaned

    def clean_code(self) -> str:
        code = canonical_code(self.cleaned_data["code"])
        if not code:
            raise ValidationError(CODE_RULE, code="code")
        return code

    def _post_clean(self) -> None:
        """Check the poll with its new values by the rules for drafts."""
        super()._post_clean()
        if self.refusal:
            self._add_refusal(self.refusal)
        if self.errors or "labels" not in self.fields:
            return
        try:
            method = get_method(self.instance.method)
            given = config_fields.given_config(method, self.cleaned_data)
            self.instance.config = drafts.clean_config(method, given)
            drafts.check_draft(self.instance, self.cleaned_data["labels"], self._untouched_times())
        except LandslideError as error:
            self._add_refusal(error)

    def _untouched_times(self) -> dict[str, datetime | None]:
        """Return the times that weren't changed in the form, which shows no fractions of a second."""
        times = drafts.scheduled_times(self.instance)
        return {name: moment for name, moment in times.items() if name not in self.changed_data}

    def _add_refusal(self, error: LandslideError) -> None:
        """Add the refusal to the fields that it names, or to the whole form if it names none."""
        errors = {FORM_NAMES.get(name, name): value for name, value in error.extra.get("errors", {}).items()}
        if isinstance(of_config := errors.pop("config", None), dict):
            names = config_fields.names_of(get_method(self.instance.method))
            errors |= {names[name]: value for name, value in of_config.items()}
        named = {
            name: error.detail if isinstance(value, dict) else value  # a dict: messages by item
            for name, value in errors.items()
            if name in self.fields
        }
        for name, value in (named or {None: error.detail}).items():
            self.add_error(name, value)

    def draft_fields(self) -> dict[str, Any]:
        """Return the keyword arguments for `drafts.change_poll`."""
        fields = {name: self.cleaned_data[name] for name in FIELDS if name in self.cleaned_data}
        return {"choices": self.cleaned_data["labels"], "config": self.instance.config, **fields}
