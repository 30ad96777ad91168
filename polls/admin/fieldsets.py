"""The sections of a poll's form. A draft's required fields come first; the other sections are collapsed.

The heading of a collapsed section shows its current value. A section with an error is open.
"""

from typing import Any

from django.utils.translation import gettext as _

from polls.admin.config_fields import names_of
from polls.admin.transitions import local_time
from polls.methods import METHODS
from polls.models import Poll

Fieldset = tuple[str | None, dict[str, Any]]


def draft(poll: Poll) -> list[Fieldset]:
    """Return the sections for a draft. `poll` is the stored poll, or a new poll with default values."""
    return [
        _section(None, "question", "labels", "method"),
        *_of_methods(),
        _collapsed(_("Ballots"), _ballots(poll), "min_selections", "max_selections", "revote"),
        _collapsed(_("Who may vote"), poll.get_identity_display(), "identity"),
        _collapsed(_("Results"), poll.get_results_visible_display(), "results_visible", "release_step"),
        _collapsed(_("Times"), _times(poll), "opens_at", "closes_at"),
        _collapsed(_("Code"), poll.code if poll.pk else _("a random one"), "code"),
        _collapsed(_("Protection"), "", "venue_networks", "over_limit", "proof_of_work"),
        _collapsed(_("Advanced"), "", "expected_turnout"),
    ]


def frozen(poll: Poll) -> list[Fieldset]:
    """Return the sections for a poll that has been opened. Editable fields come first."""
    config = ("method_config",) if poll.config else ()
    return [
        _section(_("Results"), "results_visible"),
        _section(_("Protection"), "venue_networks", "over_limit"),
        _section(None, "question", "code", "choice_list"),
        _section(_("Who may vote"), "identity"),
        _section(_("Ballots"), "method", *config, ("min_selections", "max_selections"), "revote"),
        _section(_("Times"), "opens_at", "closes_at"),
        _collapsed(_("Advanced"), "", "release_step", "expected_turnout"),
    ]


def _of_methods() -> list[Fieldset]:
    """Return a section for each method with a config. admin/method.js shows the chosen method's."""
    return [
        (str(method.label), {"fields": names, "classes": ["ls-method", f"ls-method-{method.name}"]})
        for method in METHODS.values()
        if (names := tuple(names_of(method).values()))
    ]


def _section(name: str | None, *fields: Any) -> Fieldset:
    return name, {"fields": fields}


def _collapsed(name: str, value: str, *fields: str) -> Fieldset:
    # Each field has a line of its own: Django doesn't open a collapsed section for an error in a field that
    # shares a line with another.
    return f"{name} · {value}" if value else name, {"fields": fields, "classes": ["collapse"]}


def _ballots(poll: Poll) -> str:
    return _("can be changed after casting") if poll.revote else _("can't be changed after casting")


def _times(poll: Poll) -> str:
    opens = _("opens %(time)s") % {"time": local_time(poll.opens_at)} if poll.opens_at else ""
    closes = _("closes %(time)s") % {"time": local_time(poll.closes_at)} if poll.closes_at else ""
    return ", ".join(filter(None, (opens, closes))) or _("opened and closed by hand")
