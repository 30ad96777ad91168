"""Audit bundles: signed zip files with everything needed to count a published round again.

A bundle holds the receipts of all counted ballots, their selections without voters, and the tally. A bundle
also holds the same lists and a second tally for ballots in quarantine, and a manifest with the hashes of all
files. The lines of each list are sorted by their text, so that they don't show in which order ballots
arrived, and can't be matched with the lines of another list. static/audit/verify.py checks bundles.
docs/audit.md says what they prove.
"""

import base64
import hashlib
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.cache import cache
from django.core.files import File
from django.core.files.storage import storages
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from analytics.audit import bundle_facts, bundle_lists, recount, signing
from analytics.audit.external_sort import sorted_lines
from analytics.models import AuditBundle
from analytics.results.tallies import BALLOTS, QUARANTINED
from polls.errors import LandslideError
from polls.models import Ballot, Poll, Round, State

logger = logging.getLogger(__name__)

#: The alias in settings.STORAGES of the storage for bundles.
STORAGE = "audit"
_LINES_AT_ONCE = 500
#: Timeout of the cache lock on making a bundle. The lock only saves work, since a constraint allows one
#: bundle for each epoch.
_LOCK_SECONDS = 60

README = """\
Audit bundle of a Landslide poll

manifest.json                the poll, its rules, and the hash of every other file
manifest.sig                 signature of manifest.json (Ed25519, base64)
receipts.txt                 receipts of all counted ballots, sorted: look for yours
ballots.csv                  what the counted ballots mark, sorted, without voters
tally.json                   votes by choice and winners, and the second tally
quarantined-receipts.txt     receipts of the ballots in quarantine
quarantined-ballots.csv      what those ballots mark. Both lists are empty if there are so few ballots that
                             the lists would show what each of them marks
quarantines.json             why they are in quarantine, and who decided that

To check it, get verify.py from the poll's organiser or from the Landslide project (static/audit/verify.py):

    python3 verify.py THIS.zip --key FINGERPRINT --receipt YOUR-RECEIPT
"""


class BundleRefused(LandslideError):
    code = "bundle_refused"
    status = 409
    title = _("An audit bundle of this round can't be made now")


def newest(poll_id: int, round_: int) -> AuditBundle | None:
    return AuditBundle.objects.filter(poll_id=poll_id, round=round_).first()


def current(poll: Poll) -> AuditBundle | None:
    """Return the bundle of the poll's published round, or None until it is made for the present epoch."""
    if poll.state != State.PUBLISHED:
        return None
    bundle = newest(poll.pk, poll.round)
    purged = poll.rounds.filter(number=poll.round, purged_at__isnull=False).exists()
    # After a purge the receipts are gone, so no bundle can be made. The bundle made before the purge lists
    # the same ballots.
    return bundle if bundle and (bundle.epoch == poll.epoch or purged) else None


def rounds_without_bundle() -> QuerySet[Round]:
    """Select rounds without a bundle. The published round needs a bundle of the present epoch."""
    made = AuditBundle.objects.filter(poll_id=OuterRef("poll_id"), round=OuterRef("number"))
    of_this_epoch = Exists(made.filter(epoch=OuterRef("poll__epoch")))
    current = Q(~of_this_epoch, poll__state=State.PUBLISHED, number=F("poll__round"))
    # A round may have been reset right after it was published, before its bundle was made.
    earlier = Q(~Exists(made), made_public_at__isnull=False, number__lt=F("poll__round"))
    return Round.objects.filter(current | earlier, purged_at=None).select_related("poll")


def make_missing_bundles() -> None:
    """Make all missing bundles. Two workers don't make the same bundle at the same time."""
    for round_ in rounds_without_bundle():
        lock = f"bundle:{round_.pk}"
        if not cache.add(lock, 1, _LOCK_SECONDS):
            continue
        try:
            make_bundle(round_, partial(_extend_lock, lock))
        except BundleRefused as refused:
            logger.error("bundle_refused", extra={"poll": round_.poll_id, "reason": refused.detail})
        except Exception:
            # A round that fails must not stop the bundles of other rounds.
            logger.exception("bundle_not_made", extra={"poll": round_.poll_id})
        finally:
            cache.delete(lock)


def _extend_lock(lock: str, _ballots: int) -> None:
    cache.touch(lock, _LOCK_SECONDS)


def make_bundle(round_: Round, progress: Callable[[int], None] | None = None) -> AuditBundle:
    """Return a finished round's bundle for the poll's present epoch. Make the bundle if there is none."""
    if round_.purged_at:
        raise BundleRefused(_("This round's receipts were destroyed; its last bundle stays."))
    folder = Path(settings.DATA_DIR) / "audit"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder) as drafts:
        with recount.consistent_snapshot():
            # Read the poll in the same snapshot as the ballots. A change after this snapshot starts a new
            # epoch, which gets its own bundle.
            poll = Poll.objects.get(pk=round_.poll_id)
            known = AuditBundle.objects.filter(poll_id=poll.pk, round=round_.number, epoch=poll.epoch).first()
            if known:
                return known
            content = _collect(poll, round_, Path(drafts), progress)
        draft = Path(drafts) / "bundle.zip"
        _write(draft, content)
        return _store(poll, round_, draft)


def open_file(bundle: AuditBundle) -> IO[bytes]:
    file: IO[bytes] = storages[STORAGE].open(bundle.file, "rb")
    return file


@dataclass(slots=True)
class _Content:
    """The contents of a bundle. The lists can be read only once."""

    facts: dict[str, Any]
    tally: dict[str, Any]
    quarantines: list[dict[str, Any]]
    lists: dict[str, Iterable[str]]


def _collect(poll: Poll, round_: Round, folder: Path, progress: Callable[[int], None] | None) -> _Content:
    if not (round_.number < poll.round or poll.state == State.PUBLISHED):
        raise BundleRefused(_("The round is not published yet."))
    found = recount.compare(round_)
    if found.drifted:
        raise BundleRefused(_("Tally and ledger differ; recount the round first."))
    counts = {line.key: line.ledger for line in found.lines}
    second = {key.removeprefix(QUARANTINED): n for key, n in counts.items() if key.startswith(QUARANTINED)}
    # Leave the second tally and its lists empty if they would show what single ballots mark.
    withheld, second = (second.get(BALLOTS, 0), {}) if found.withheld else (0, second)
    choices, whole = bundle_facts.list_choices(poll, round_), bundle_facts.lists_whole_ballots(round_)
    tally = {
        "counted": bundle_facts.build_figures(round_, choices, counts),
        "quarantined": bundle_facts.build_figures(round_, choices, second),
    }
    tally["counted"]["winners"] = round_.method.winners(round_.method_rules(), counts)
    lists: dict[str, Iterable[str]] = {}
    for prefix, quarantined, part in (("", False, counts), ("quarantined-", True, second)):
        rows = Ballot.objects.filter(poll_id=poll.pk, round=round_.number)
        rows = rows.filter(quarantine_id__isnull=not quarantined)
        rows = rows.none() if quarantined and found.withheld else rows
        receipts = bundle_lists.receipt_lines(rows, poll.receipt_format, progress)
        lists[f"{prefix}receipts.txt"] = sorted_lines(receipts, folder)
        lists[f"{prefix}ballots.csv"] = (
            bundle_lists.ballot_lines(rows, folder)
            if whole
            else bundle_lists.mark_lines(round_, part, folder)
        )
    facts = bundle_facts.build_facts(poll, round_, choices) | {
        "ballots": "whole" if whole else "marks",
        "counts": {
            "counted": counts[BALLOTS],
            "quarantined": second.get(BALLOTS, 0),
            "withheld": withheld,
            **bundle_facts.count_dead_letters(round_),
        },
    }
    return _Content(facts, tally, bundle_facts.list_quarantines(round_, withheld=found.withheld), lists)


def _write(draft: Path, content: _Content) -> None:
    files = {}
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as bundle:
        for name, lines in content.lists.items():
            files[name] = _add_file(bundle, name, lines)
        files["README.txt"] = _add_file(bundle, "README.txt", README.splitlines(keepends=True))
        files["tally.json"] = _add_file(bundle, "tally.json", _json_lines(content.tally))
        files["quarantines.json"] = _add_file(bundle, "quarantines.json", _json_lines(content.quarantines))
        manifest = content.facts | {
            "files": files,
            "signature": {
                "scheme": signing.SCHEME,
                "public_key": signing.public_key().hex(),
                "fingerprint": signing.fingerprint(),
            },
        }
        text = _json_lines(manifest)
        signature = base64.b64encode(signing.sign("".join(text).encode())).decode()
        _add_file(bundle, "manifest.json", text)
        _add_file(bundle, "manifest.sig", [f"{signature}\n"])
    with draft.open("rb") as file:
        os.fsync(file.fileno())


def _add_file(bundle: zipfile.ZipFile, name: str, lines: Iterable[str]) -> dict[str, Any]:
    """Write a file into the zip; return its entry for the manifest."""
    digest, size, count = hashlib.sha256(), 0, 0
    # Write no modification time, since the manifest says when the bundle was made.
    info = zipfile.ZipInfo(name)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    with bundle.open(info, "w", force_zip64=True) as file:
        source = iter(lines)
        while piece := "".join(islice(source, _LINES_AT_ONCE)):
            content = piece.encode()
            digest.update(content)
            size, count = size + len(content), count + piece.count("\n")
            file.write(content)
    return {"sha256": digest.hexdigest(), "bytes": size, "lines": count}


def _json_lines(value: Any) -> list[str]:
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    return (text + "\n").splitlines(keepends=True)


class _Draft(File):
    """A finished file that FileSystemStorage moves to its place instead of copying it."""

    def temporary_file_path(self) -> str:
        return str(self.file.name) if self.file else ""


def _store(poll: Poll, round_: Round, draft: Path) -> AuditBundle:
    digest = hashlib.sha256()
    with draft.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
        name = f"{poll.code}-round{round_.number}-epoch{poll.epoch}.zip"
        size = draft.stat().st_size
        stored = storages[STORAGE].save(name, _Draft(file))
    where = {"poll_id": poll.pk, "round": round_.number, "epoch": poll.epoch}
    try:
        # The file is complete before the row makes it visible.
        with transaction.atomic():
            bundle = AuditBundle.objects.create(**where, file=stored, size=size, sha256=digest.hexdigest())
    except IntegrityError:
        storages[STORAGE].delete(stored)  # another worker has made the bundle meanwhile
        return AuditBundle.objects.get(**where)
    logger.info("bundle_made", extra={"poll": poll.pk, "round": round_.number, "size": size})
    return bundle
