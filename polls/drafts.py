"""Create, change and delete drafts: one set of rules for the API and the admin."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from polls import clock, lifecycle
from polls.audit_log import COMMAND, record
from polls.errors import CodeTaken, IllegalState, Malformed
from polls.methods import Method, RulesError, get_method, make_rules
from polls.models import Choice, Poll, State
from polls.text.plain_text import INVISIBLE_TEXT, cleaned, is_visible, isolated, on_one_line, visual_key
from polls.text.timestamps import IN_THE_PAST, OUT_OF_BOUNDS, in_bounds
from polls.voters.networks import canonical_networks

MAX_CHOICES = 99
#: Random codes rarely collide; three collisions in a row mean that something else is wrong.
MAX_CODE_ATTEMPTS = 3
#: Fields that may be changed at any time, because whether a ballot is valid doesn't depend on them.
ALWAYS_EDITABLE = ("results_visible", "venue_networks", "over_limit", "proof_of_work")
#: The times at which a poll opens and closes by itself.
SCHEDULED_TIMES = ("opens_at", "closes_at")


def create_poll(choices: Sequence[str], by: str = COMMAND, **fields: Any) -> Poll:
    """Create a draft. Limits and config that are missing get the method's defaults.

    `by` is the actor in the audit log.

    Raises Malformed if method, limits, times and choices don't fit together, and CodeTaken if another poll
    has the code.
    """
    for _attempt in range(MAX_CODE_ATTEMPTS):
        try:
            return _create(choices, by, **fields)
        except IntegrityError:
            if "code" in fields:
                break
    raise CodeTaken()


@transaction.atomic
def _create(choices: Sequence[str], by: str, **fields: Any) -> Poll:
    poll = Poll(**fields)
    poll.question, choices = _clean_text("question", poll.question), _clean_labels(choices)
    method = get_method(poll.method)
    least, most = method.default_limits(len(choices))
    poll.min_selections = fields.get("min_selections", least)
    poll.max_selections = fields.get("max_selections", most)
    poll.config = clean_config(method, fields.get("config", {}))
    check_draft(poll, choices)
    check_networks(poll)
    poll.save()
    _replace_choices(poll, choices)
    record(by, "poll created", poll.code, **_record_detail(poll, fields), choices=choices)
    return poll


@transaction.atomic
def change_poll(
    poll_id: int,
    choices: Sequence[str] | None = None,
    by: str = COMMAND,
    action: str = "poll changed",
    **fields: Any,
) -> Poll:
    """Change a draft, or ALWAYS_EDITABLE fields of any poll; raise IllegalState for anything else."""
    needs_draft = choices is not None or not fields or not set(fields) <= set(ALWAYS_EDITABLE)
    poll = lock_draft(poll_id) if needs_draft else lifecycle.lock_poll(poll_id)
    before, method_before = scheduled_times(poll), poll.method
    for name, value in fields.items():
        setattr(poll, name, _clean_text(name, value) if name == "question" else value)
    if "config" in fields or poll.method != method_before:
        poll.config = clean_config(get_method(poll.method), fields.get("config", {}))
    if choices is not None:
        choices = _clean_labels(choices)
    if needs_draft:
        labels = [choice.label for choice in poll.choices.all()] if choices is None else choices
        check_draft(poll, labels, before)
    check_networks(poll)
    if choices is not None:
        _replace_choices(poll, choices)
    poll.save()
    lifecycle.bump_revision(poll.pk)
    detail = _record_detail(poll, fields) | ({} if choices is None else {"choices": choices})
    record(by, action, poll.code, **detail)
    poll.refresh_from_db()
    return poll


@transaction.atomic
def delete_poll(poll_id: int, by: str = COMMAND) -> None:
    """Delete a draft that was never opened. A poll with counted ballots is evidence and stays."""
    poll = lock_draft(poll_id)
    if poll.round > 1:
        raise IllegalState(_("The poll has counted ballots of earlier rounds and can't be deleted."))
    poll.delete()
    lifecycle.bump_revision(poll_id)
    record(by, "poll deleted", poll.code, question=poll.question)


def _record_detail(poll: Poll, fields: Iterable[str]) -> dict[str, Any]:
    """Return the saved values of these fields, for the audit log."""
    return {name: getattr(poll, name) for name in fields if name != "code"}


def lock_draft(poll_id: int) -> Poll:
    poll = lifecycle.lock_poll(poll_id)
    if poll.state != State.DRAFT:
        raise IllegalState(_("Only a draft can be changed; this poll has been opened."), state=poll.state)
    return poll


def check_draft(
    poll: Poll, labels: Sequence[str], before: Mapping[str, datetime | None] | None = None
) -> None:
    """Raise Malformed if the poll could never be opened with these choices.

    before: the poll's times before the change. An unchanged time may be in the past.
    """
    if len(labels) > MAX_CHOICES:
        raise _field_error("choices", _("At most %(most)s choices.") % {"most": MAX_CHOICES})
    _check_labels(labels)
    _check_times(poll, before or {})
    method, numbers = get_method(poll.method), range(1, len(labels) + 1)
    rules = make_rules(method, numbers, poll.min_selections, poll.max_selections, poll.config)
    try:
        method.check_rules(rules)
    except RulesError as error:
        raise _field_error(error.field, str(error)) from None


def _clean_text(field: str, text: str) -> str:
    """Normalize a text for storage; raise Malformed, naming the field, if that is impossible."""
    try:
        text = cleaned(text)
    except ValueError as error:
        raise _field_error(field, str(error)) from None
    if not is_visible(text):
        raise _field_error(field, str(INVISIBLE_TEXT))
    return text


def clean_config(method: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's config as it is stored; raise Malformed, naming the field."""
    stored: dict[str, Any] = msgspec.to_builtins(method.complete(_read_config(method, given)))
    for name, value in stored.items():
        if isinstance(value, str) and value:
            stored[name] = _clean_text(f"config.{name}", value)
    _read_config(method, stored)  # NFC makes some texts longer, perhaps too long
    return stored


def _read_config(method: Method, given: Mapping[str, Any]) -> msgspec.Struct:
    try:
        return msgspec.convert(given, method.Config)
    except msgspec.ValidationError as error:
        sentence, _at, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        raise _field_error(f"config.{name}" if name else "config", f"{sentence}.") from None


def _clean_labels(labels: Iterable[str]) -> list[str]:
    return [_clean_text(f"choices.{index}", label) for index, label in enumerate(labels)]


def _check_labels(labels: Sequence[str]) -> None:
    """Raise Malformed if two labels look the same, or differ only in upper and lower case."""
    seen: dict[str, int] = {}
    for number, label in enumerate(labels, 1):
        first = seen.setdefault(visual_key(label), number)
        if first != number:
            values = {"one": first, "first": isolated(labels[first - 1])}
            values |= {"other": number, "second": isolated(label)}
            sentence = _("Choices %(one)s, “%(first)s”, and %(other)s, “%(second)s”, look the same.") % values
            raise _field_error("choices", sentence)


def scheduled_times(poll: Poll) -> dict[str, datetime | None]:
    return {name: getattr(poll, name) for name in SCHEDULED_TIMES}


def _check_times(poll: Poll, before: Mapping[str, datetime | None]) -> None:
    """Require times in the future, so that a typo in the year can't open or close a poll at once."""
    for name, moment in scheduled_times(poll).items():
        if moment is None or moment == before.get(name):
            continue
        if not in_bounds(moment):
            raise _field_error(name, str(OUT_OF_BOUNDS))
        if moment <= clock.utc_now():
            hint = _(" To open the poll now, leave it empty and open it by hand.")
            raise _field_error(name, f"{IN_THE_PAST}{hint if name == 'opens_at' else ''}")
    if poll.opens_at and poll.closes_at and poll.closes_at <= poll.opens_at:
        raise _field_error("closes_at", _("The poll would close before it opens."))


def _field_error(field: str, sentence: str) -> Malformed:
    """Return an error for a field, or for an item of a list field: `choices.1`."""
    name, _dot, index = field.partition(".")
    errors: Any = {index: [sentence]} if index else [sentence]
    return Malformed(f"{field}: {sentence}", errors={name: errors})


def check_networks(poll: Poll) -> None:
    """Normalize the poll's venue networks; raise Malformed if a text isn't a valid network."""
    try:
        poll.venue_networks = canonical_networks(poll.venue_networks)
    except ValueError as error:
        raise Malformed(str(error)) from None


def _replace_choices(poll: Poll, labels: Sequence[str]) -> None:
    """Replace a draft's choices. A number that voters have seen keeps its label for ever."""
    seen = _seen_numbers(poll)
    numbers = {on_one_line(c.label): c.number for c in poll.choices.all() if c.number in seen}
    next_number = max(seen, default=0) + 1
    rows = []
    for position, label in enumerate(labels, 1):
        number = numbers.get(label)
        if number is None:
            number, next_number = next_number, next_number + 1
        rows.append(Choice(poll=poll, number=number, position=position, label=label))
    if next_number > MAX_CHOICES + 1:
        raise _field_error(
            "choices",
            _(
                "Voters have seen %(seen)s of the poll's %(most)s choice numbers, and those are never"
                " reused. Keep more of the choices as they were, or make a new poll."
            )
            % {"seen": max(seen), "most": MAX_CHOICES},
        )
    poll.choices.all().delete()
    Choice.objects.bulk_create(rows)


def _seen_numbers(poll: Poll) -> set[int]:
    """Return the choice numbers of all opened rounds. Numbers that only a draft had may be reused."""
    return {number for rules in poll.rounds.values_list("rules", flat=True) for number in rules["numbers"]}
