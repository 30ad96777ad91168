"""Make published polls for tests of audit bundles, and run the verifier."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analytics.audit import bundles, recount
from analytics.counting import closing
from analytics.models import AuditBundle
from polls import lifecycle
from polls.casting.receipts import make_receipt
from polls.models import Poll
from polls.votelog.admission import NewBallot
from tests.factories import count, fill, open_poll
from tests.system import ROOT

VERIFIER = ROOT / "static" / "audit" / "verify.py"


def close(poll: Poll) -> Poll:
    lifecycle.close_poll(poll.pk)
    count()
    closing.close_counted_polls()
    return Poll.objects.get(pk=poll.pk)


def published(voters: int = 12, **fields: Any) -> tuple[Poll, list[NewBallot]]:
    poll = open_poll(**fields)
    ballots = fill(poll, range(voters)) if voters else []
    return lifecycle.publish_poll(close(poll).pk), ballots


def bundle_of(poll: Poll, number: int | None = None) -> AuditBundle:
    return bundles.make_bundle(recount.get_round(poll, number))


def content_of(bundle: AuditBundle) -> dict[str, bytes]:
    with bundles.open_file(bundle) as file:
        return unzipped(file.read())


def unzipped(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        return {name: files.read(name) for name in files.namelist()}


def zipped(files: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return archive.getvalue()


def receipt_of(ballot: NewBallot) -> str:
    return make_receipt(ballot.poll_id, ballot.round or 1, ballot.voter_key, ballot.ballot_id)


@dataclass(frozen=True)
class Answer:
    code: int
    said: str


def run_verifier(path: Path, *options: str) -> Answer:
    """Run the verifier with `python -I -S`: without site-packages, environment or Landslide's code."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFIER), str(path), *options],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert not done.stderr or done.returncode == 2, done.stderr
    return Answer(done.returncode, done.stdout + done.stderr)
