"""Build the documents in an audit bundle: manifest facts, tally figures and quarantine decisions."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.utils import timezone

from analytics.models import Quarantine
from analytics.results.tallies import BALLOTS
from polls.methods import with_labels
from polls.models import Ballot, DeadLetter, Poll, Round
from polls.poll_document import iso

FORMAT = "landslide-audit/1"


def lists_whole_ballots(round_: Round) -> bool:
    """Return whether the bundle lists whole ballots. If it doesn't, the bundle lists single marks.

    A rare combination of marks can identify its voter. Stepped results exist for secrecy, so a bundle of such
    a round lists no combinations.
    """
    return round_.release_step <= 1 or round_.method.has_one_mark(round_.method_rules())


def list_choices(poll: Poll, round_: Round) -> list[dict[str, Any]]:
    """Return the choices with their labels in the round's stored result, or with their present labels."""
    stored = (round_.result or {}).get("choices")
    if stored:
        return [{"number": each["number"], "label": each["label"]} for each in stored]
    known = dict(poll.choices.values_list("number", "label"))
    return [{"number": n, "label": known.get(n, str(n))} for n in round_.rules["numbers"]]


def build_figures(round_: Round, choices: list[dict[str, Any]], counts: Mapping[str, int]) -> dict[str, Any]:
    totals = round_.method.totals(round_.method_rules(), counts)
    labelled = with_labels(totals, [(choice["number"], choice["label"]) for choice in choices])
    return {"ballots": counts.get(BALLOTS, 0), **labelled}


def count_dead_letters(round_: Round) -> dict[str, int]:
    """Count the round's waiting and rejected dead letters. No list of the bundle contains them."""
    letters = DeadLetter.objects.filter(poll_id=round_.poll_id, round=round_.number)
    by_status = dict(letters.order_by().values_list("status").annotate(n=Count("pk")))
    return {
        status: by_status.get(status, 0) for status in (DeadLetter.Status.WAITING, DeadLetter.Status.REJECTED)
    }


def list_quarantines(round_: Round, *, withheld: bool) -> list[dict[str, Any]]:
    """Return the quarantine decisions, each with its number of listed ballots."""
    where = {"poll_id": round_.poll_id, "round": round_.number}
    rows = Ballot.objects.filter(**where, quarantine_id__isnull=False).order_by()
    ballots = dict(rows.values_list("quarantine_id").annotate(n=Count("voter_key")))
    return [
        {
            "rule": each.rule,
            "reason": each.reason,
            "decided_by": each.decided_by,
            "decided_at": iso(each.decided_at),
            "released_by": each.released_by,
            "released_at": iso(each.released_at),
            "ballots": 0 if withheld else ballots.get(each.pk, 0),
        }
        for each in Quarantine.objects.filter(**where).order_by("pk")
    ]


def build_facts(poll: Poll, round_: Round, choices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifest's facts about the poll and the round."""
    rules = round_.rules
    limits = {"least": rules["least"], "most": rules["most"]}
    config = {"config": rules["config"]} if "config" in rules else {}
    published = poll.published_at if round_.number == poll.round else round_.made_public_at
    return {
        "format": FORMAT,
        "software": {"name": "Landslide", "version": settings.VERSION},
        "poll": poll.code,
        "round": round_.number,
        "epoch": poll.epoch,
        "question": round_.question or poll.question,
        "method": rules["method"],
        # Rounds of earlier versions have neither `revote` nor `identity`.
        "rules": {**limits, **config, "revote": rules.get("revote", poll.revote)},
        "who_may_vote": rules.get("identity", poll.identity),
        "choices": choices,
        "opened_at": iso(round_.opened_at),
        "closed_at": iso(round_.closed_at),
        "published_at": iso(published),
        "made_at": iso(timezone.now()),
    }
