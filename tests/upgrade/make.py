"""Make the stores of tests/test_upgrade.py, with the code of the version that they are to be upgraded from.

Run these commands in a checkout of that version. The second one needs an empty Redis:

    export SECRET_KEY=upgraded
    VOTE_LOG=database DATA_DIR=/tmp/one python make.py database.zip
    VOTE_LOG=redis REDIS_URL=redis://127.0.0.1:6390 DATA_DIR=/tmp/two python make.py redis.zip

The stores hold ballots in every condition: counted, replaced, quarantined, dead letters, and accepted but not
counted yet. There is also a published round with its bundle, and receipts. redis.zip has the keys of Redis.
"""

import base64
import json
import os
import sqlite3
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, os.getcwd())
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

import redis  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from analytics.audit import bundles, recount  # noqa: E402
from analytics.counting import batches, closing  # noqa: E402
from polls import drafts, lifecycle  # noqa: E402
from polls.casting.receipts import make_receipt  # noqa: E402
from polls.models import Poll  # noqa: E402
from polls.votelog import expected_heads, get_log  # noqa: E402
from polls.votelog.admission import NewBallot  # noqa: E402


def ballot(poll: Poll, voter: int, selection: str, **fields: object) -> NewBallot:
    ballot_id = (1000 * poll.pk + voter).to_bytes(16, "big")
    return NewBallot(
        poll.pk,
        voter.to_bytes(16, "big"),
        selection=selection,
        round=1,
        **({"ballot_id": ballot_id} | fields),
    )


def append(*ballots: NewBallot) -> None:
    outcomes = get_log().append(ballots, expected_heads(max_age=0))
    assert {outcome.code for outcome in outcomes} == {"accepted"}, outcomes


def count() -> None:
    for partition in range(get_log().partitions):
        batches.count_partition(partition)


def open_poll(code: str, **fields: object) -> Poll:
    poll = drafts.create_poll(["Tea", "Coffee", "Water"], code=code, question="What will it be?", **fields)
    return lifecycle.open_poll(poll.pk)


def main(target: str) -> None:
    call_command("migrate", verbosity=0)
    done = open_poll("DONE", method="multiple", max_selections=2)
    append(*(ballot(done, voter, ["1", "1,2", "2,3"][voter % 3]) for voter in range(24)))
    count()
    lifecycle.close_poll(done.pk)
    count()
    closing.close_counted_polls()
    lifecycle.publish_poll(done.pk)
    bundle = bundles.make_bundle(recount.get_round(done))

    going = open_poll("GOING", method="single", revote=True)
    append(*(ballot(going, voter, str(1 + voter % 2)) for voter in range(30)))
    append(*(ballot(going, voter, "3", quarantine_rule="over_limit") for voter in range(30, 42)))
    append(*(ballot(going, voter, wrong) for voter, wrong in enumerate(["9", "x", "1,2"], 50)))
    replaced = ballot(going, 1, "2").ballot_id
    append(ballot(going, 1, "3", ballot_id=(777).to_bytes(16, "big"), replaces=replaced))
    count()
    append(*(ballot(going, voter, "1") for voter in range(60, 65)))  # accepted, not counted yet

    receipts = {
        name: make_receipt(poll.pk, 1, voter.to_bytes(16, "big"), ballot(poll, voter, "1").ballot_id)
        for name, poll, voter in (
            ("counted", going, 2),
            ("replaced", going, 1),
            ("quarantined", going, 30),
            ("waiting", going, 60),
        )
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        dump = "\n".join(sqlite3.connect(settings.DATABASES["default"]["NAME"]).iterdump())
        archive.writestr("database.sql", dump)
        archive.writestr("receipts.json", json.dumps(receipts))
        with bundles.open_file(bundle) as file:
            archive.writestr("bundle.zip", file.read())
        for file in Path(settings.DATA_DIR).glob("*key*"):
            archive.writestr(f"data/{file.name}", file.read_bytes())
        if settings.VOTE_LOG == "redis":
            store = redis.Redis.from_url(settings.VOTE_LOG_REDIS_URL)
            keys = {key: store.dump(key) for key in store.scan_iter()}
            text = {base64.b64encode(k).decode(): base64.b64encode(v).decode() for k, v in keys.items() if v}
            archive.writestr("redis.json", json.dumps(text))


main(sys.argv[1])
