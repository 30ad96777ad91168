"""Writing polls while they are drafts: one set of rules for the API and the admin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from polls import clock, lifecycle
from polls.audit_log import COMMAND, record
from polls.errors import CodeTaken, IllegalState, Malformed, PollNotFound
from polls.methods import MethodRules, get_method
from polls.models import Choice, Poll, State
from polls.text.plain_text import NOTHING_TO_SEE, cleaned, is_visible, isolated, on_one_line, visual_key
from polls.text.timestamps import OUTSIDE, PASSED, in_window
from polls.voters.networks import canonical_networks

MIN_CHOICES, MAX_CHOICES = 2, 99
#: A random code seldom meets one that exists; three times in a row means that something else is wrong.
MAX_CODE_ATTEMPTS = 3
#: What doesn't decide about a ballot's validity may be changed while it matters: once the poll is open.
ALWAYS_EDITABLE = ("results_visible", "venue_networks", "over_limit", "proof_of_work")
#: Times at which a poll moves by itself.
SCHEDULED_TIMES = ("opens_at", "closes_at")


def create_poll(choices: Sequence[str], by: str = COMMAND, **fields: Any) -> Poll:
    """A draft with these choices; limits that nobody gave are the method's own. `by`: for the records.

    Malformed where method, limits, times and choices don't fit; CodeTaken where `code` is given and in use.
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
    least, most = get_method(poll.method).default_limits(len(choices))
    poll.min_selections = fields.get("min_selections", least)
    poll.max_selections = fields.get("max_selections", most)
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
    """Change a draft, or what is ALWAYS_EDITABLE; else IllegalState. `by` and `action`: for the records."""
    frozen_too = choices is not None or not fields or not set(fields) <= set(ALWAYS_EDITABLE)
    poll = lock_draft(poll_id) if frozen_too else lock_poll(poll_id)
    before = scheduled_times(poll)
    for name, value in fields.items():
        setattr(poll, name, _clean_text(name, value) if name == "question" else value)
    if choices is not None:
        choices = _clean_labels(choices)
    if frozen_too:
        labels = [choice.label for choice in poll.choices.all()] if choices is None else choices
        check_draft(poll, labels, before)
    check_networks(poll)
    if choices is not None:
        _replace_choices(poll, choices)
    poll.save()
    lifecycle.bump_revision(poll.pk)
    record(
        by,
        action,
        poll.code,
        **_record_detail(poll, fields),
        **({} if choices is None else {"choices": choices}),
    )
    poll.refresh_from_db()
    return poll


@transaction.atomic
def delete_poll(poll_id: int, by: str = COMMAND) -> None:
    """Delete a draft that never ran; a poll that has counted ballots is evidence and stays."""
    poll = lock_draft(poll_id)
    if poll.round > 1:
        raise IllegalState(_("The poll has counted ballots of earlier rounds and can't be deleted."))
    poll.delete()
    record(by, "poll deleted", poll.code, question=poll.question)


def _record_detail(poll: Poll, fields: Iterable[str]) -> dict[str, Any]:
    """What a record says of a poll that was written: the values of these fields."""
    return {name: getattr(poll, name) for name in fields if name != "code"}


def lock_poll(poll_id: int) -> Poll:
    try:
        return Poll.objects.select_for_update().get(pk=poll_id)
    except Poll.DoesNotExist:
        raise PollNotFound() from None


def lock_draft(poll_id: int) -> Poll:
    poll = lock_poll(poll_id)
    if poll.state != State.DRAFT:
        raise IllegalState(_("Only a draft can be changed; this poll has been opened."), state=poll.state)
    return poll


def check_draft(
    poll: Poll, labels: Sequence[str], before: Mapping[str, datetime | None] | None = None
) -> None:
    """Malformed where the poll, with these choices, could never be opened.

    before: the times that the poll had; what is still one of them may have passed meanwhile.
    """
    if len(labels) > MAX_CHOICES:
        raise _field_error("choices", _("At most %(most)s choices.") % {"most": MAX_CHOICES})
    _check_labels(labels)
    _check_times(poll, before or {})
    rules = MethodRules(frozenset(range(1, len(labels) + 1)), poll.min_selections, poll.max_selections)
    try:
        get_method(poll.method).check_rules(rules)
    except ValueError as error:
        field = "choices" if len(labels) < MIN_CHOICES else "max_selections"
        raise _field_error(field, str(error)) from None


def _clean_text(field: str, text: str) -> str:
    """What somebody wrote, as it is kept; Malformed, with the field, where it can't be."""
    try:
        text = cleaned(text)
    except ValueError as error:
        raise _field_error(field, str(error)) from None
    if not is_visible(text):
        raise _field_error(field, str(NOTHING_TO_SEE))
    return text


def _clean_labels(labels: Iterable[str]) -> list[str]:
    return [_clean_text(f"choices.{index}", label) for index, label in enumerate(labels)]


def _check_labels(labels: Sequence[str]) -> None:
    """Malformed where two can't be told apart, but perhaps by upper and lower case."""
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
    """A time that is set lies ahead: a slip in the year must neither open nor close a poll at once."""
    for name, moment in scheduled_times(poll).items():
        if moment is None or moment == before.get(name):
            continue
        if not in_window(moment):
            raise _field_error(name, str(OUTSIDE))
        if moment <= clock.utc_now():
            hint = (
                _("To open the poll now, leave it empty and open it by hand.") if name == "opens_at" else ""
            )
            raise _field_error(name, f"{PASSED} {hint}".rstrip())
    if poll.opens_at and poll.closes_at and poll.closes_at <= poll.opens_at:
        raise _field_error("closes_at", _("The poll would close before it opens."))


def _field_error(field: str, sentence: str) -> Malformed:
    """A refusal that names the field, and in a list the place: `choices.1`."""
    name, _dot, index = field.partition(".")
    errors: Any = {index: [sentence]} if index else [sentence]
    return Malformed(f"{field}: {sentence}", errors={name: errors})


def check_networks(poll: Poll) -> None:
    """Bring its venues' networks into their one form; Malformed where one is no network."""
    try:
        poll.venue_networks = canonical_networks(poll.venue_networks)
    except ValueError as error:
        raise Malformed(str(error)) from None


def _replace_choices(poll: Poll, labels: Sequence[str]) -> None:
    """New texts for a draft, in their order. A number that voters have seen stays with its text for good."""
    seen = _published_numbers(poll)
    numbers = {on_one_line(c.label): c.number for c in poll.choices.all() if c.number in seen}
    following = max(seen, default=0) + 1
    rows = []
    for position, label in enumerate(labels, 1):
        number = numbers.get(label)
        if number is None:
            number, following = following, following + 1
        rows.append(Choice(poll=poll, number=number, position=position, label=label))
    if following > MAX_CHOICES + 1:
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


def _published_numbers(poll: Poll) -> set[int]:
    """The choice numbers of rounds that were opened. A draft's others may be given out again."""
    return {number for rules in poll.rounds.values_list("rules", flat=True) for number in rules["numbers"]}
