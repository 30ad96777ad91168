"""Form fields for the methods' settings, made from each method's Config."""

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from django import forms
from django.core.validators import MaxLengthValidator
from django.utils.functional import Promise
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from polls.methods import METHODS, Method
from polls.models import Poll
from polls.pages.forms import LineField


def names_of(method: Method) -> dict[str, str]:
    """Return the names of the method's form fields, by the names in its Config."""
    return {name: f"{method.name}_{name}" for name in method.Config.__struct_fields__}


def make_fields() -> dict[str, forms.Field]:
    """Return the fields of all methods, by name in the form."""
    return {
        names_of(method)[field.name]: _make_field(method, field)
        for method in METHODS.values()
        for field in msgspec.structs.fields(method.Config)
    }


def _make_field(method: Method, field: Any) -> forms.Field:
    """Make a form field for a field of Config: a choice, an integer or a text. The field may stay empty."""
    label, help_text = method.config_texts[field.name]
    options: dict[str, Any] = {"label": label, "help_text": help_text, "required": False}
    kind, limits = _plain(field.type)
    if kind is int:
        widget = UnfoldAdminIntegerFieldWidget()
        return forms.IntegerField(min_value=limits.ge, max_value=limits.le, widget=widget, **options)
    if kind is str:
        widget = UnfoldAdminTextInputWidget(attrs={"dir": "auto"})
        # No `max_length`: browsers would truncate a text silently.
        return LineField(validators=[MaxLengthValidator(limits.max_length)], widget=widget, **options)
    choices = [(value, method.config_values[value]) for value in get_args(kind)]
    return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(), **options)


def _plain(kind: Any) -> tuple[Any, Any]:
    """Split a type into its plain type, without None, and its limits."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Annotated:
        plain, limits = get_args(kind)
        return plain, limits
    return kind, msgspec.Meta()


def initial_of(poll: Poll) -> dict[str, Any]:
    """Return the form's initial values for the poll's config."""
    method = METHODS[poll.method]
    return {names_of(method)[name]: value for name, value in poll.config.items()}


def given_config(method: Method, cleaned: dict[str, Any]) -> dict[str, Any]:
    """Return the method's config as filled in; empty fields are left out."""
    found = {name: cleaned.get(field) for name, field in names_of(method).items()}
    return {name: value for name, value in found.items() if value not in (None, "")}


def described(poll: Poll) -> list[tuple[Promise | str, Any]]:
    """Return the labels and values of the poll's config, without empty texts."""
    method = METHODS[poll.method]
    return [
        (method.config_texts[name][0], method.config_values.get(value, value))
        for name, value in poll.config.items()
        if value != ""
    ]
