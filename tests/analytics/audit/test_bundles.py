"""Audit bundles: what they contain, when they are made, and who may download them."""

import csv
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from analytics import tasks
from analytics.audit import bundles, external_sort, signing
from analytics.audit.bundles import BundleRefused
from analytics.counting import dead_letters
from analytics.models import AuditBundle, Quarantine, Tally
from analytics.results import final_results
from polls import drafts, lifecycle
from polls.casting.receipts import open_receipt
from polls.models import Ballot, DeadLetter, Poll, Round
from tests.analytics.audit_bundles import bundle_of, close, content_of, published, receipt_of
from tests.factories import append, count, fill, new_ballot, open_poll

pytestmark = pytest.mark.django_db


def manifest_of(bundle: AuditBundle) -> Any:
    return json.loads(content_of(bundle)["manifest.json"])


def lines(content: bytes) -> list[str]:
    return content.decode().splitlines()


# --- contents ---


def test_a_bundle_lists_all_counted_ballots_and_the_tally() -> None:
    poll, ballots = published(method="multiple", max_selections=2, question="Tea, or “coffee”?")
    files = content_of(bundle_of(poll))
    assert lines(files["receipts.txt"]) == sorted(map(receipt_of, ballots))
    marks = [ballot.selection.replace(",", " ") for ballot in ballots]
    assert [row["selection"] for row in csv.DictReader(io.StringIO(files["ballots.csv"].decode()))] == sorted(
        marks
    )
    tally = json.loads(files["tally.json"])
    final = final_results.final_result(poll)
    assert tally["counted"]["ballots"] == final["ballots"] == 12
    assert [each["votes"] for each in tally["counted"]["choices"]] == [
        each["votes"] for each in final["choices"]
    ]
    assert tally["counted"]["winners"] == final["winners"]
    facts = json.loads(files["manifest.json"])
    assert (facts["poll"], facts["round"], facts["epoch"]) == (poll.code, 1, poll.epoch)
    assert facts["question"] == "Tea, or “coffee”?"
    for name, entry in facts["files"].items():
        assert entry == {
            "sha256": hashlib.sha256(files[name]).hexdigest(),
            "bytes": len(files[name]),
            "lines": files[name].count(b"\n"),
        }
    assert set(files) == {*facts["files"], "manifest.json", "manifest.sig"}


def test_another_library_accepts_the_signature() -> None:
    from base64 import b64decode

    files = content_of(bundle_of(published()[0]))
    key = Ed25519PublicKey.from_public_bytes(signing.public_key())
    key.verify(b64decode(files["manifest.sig"]), files["manifest.json"])


def test_a_bundle_contains_no_voter_keys() -> None:
    poll, _ballots = published()
    row = bundle_of(poll)
    content = b"".join(content_of(row).values())
    for ballot in Ballot.objects.filter(poll_id=poll.pk):
        for secret in (bytes(ballot.voter_key), bytes(ballot.ballot_id)):
            assert secret not in content and secret.hex().encode() not in content
    assert bytes(poll.secret) not in content and bytes(poll.secret).hex().encode() not in content


def test_lists_do_not_show_the_order_of_voting() -> None:
    poll = open_poll()
    for voter in range(20):
        fill(poll, range(voter, voter + 1), 1 + voter % 3)
        count()
    lifecycle.publish_poll(close(poll).pk)
    files = content_of(bundle_of(Poll.objects.get(pk=poll.pk)))
    receipts, ballots = lines(files["receipts.txt"]), lines(files["ballots.csv"])[1:]
    assert receipts == sorted(receipts) and ballots == sorted(ballots)
    by_arrival = [int.from_bytes(open_receipt(receipt).voter_key, "big") for receipt in receipts]
    assert by_arrival != sorted(by_arrival)


def test_quarantined_ballots_are_listed_separately() -> None:
    poll = open_poll()
    fill(poll, range(10), 1)
    apart = fill(poll, range(10, 22), 2)
    count()
    decision = Quarantine.objects.create(
        poll_id=poll.pk, round=1, rule="operator", reason="Came all at once.", decided_by="user anna"
    )
    keys = [ballot.voter_key for ballot in apart]
    Ballot.objects.filter(poll_id=poll.pk, voter_key__in=keys).update(quarantine_id=decision.pk)
    for key in ("2", "ballots"):
        Tally.objects.filter(poll_id=poll.pk, key=key).update(key=f"quarantined:{key}")
    Tally.objects.create(poll_id=poll.pk, round=1, key="ballots", partition=9, count=10, changes=1)
    Tally.objects.filter(poll_id=poll.pk, key="quarantined:ballots").delete()
    Tally.objects.create(
        poll_id=poll.pk, round=1, key="quarantined:ballots", partition=9, count=12, changes=1
    )
    lifecycle.publish_poll(close(poll).pk)
    files = content_of(bundle_of(Poll.objects.get(pk=poll.pk)))
    assert lines(files["quarantined-receipts.txt"]) == sorted(map(receipt_of, apart))
    assert lines(files["quarantined-ballots.csv"]) == ["selection", *["2"] * 12]
    assert len(lines(files["receipts.txt"])) == 10
    tally = json.loads(files["tally.json"])
    assert [each["votes"] for each in tally["counted"]["choices"]] == [10, 0, 0]
    assert [each["votes"] for each in tally["quarantined"]["choices"]] == [0, 12, 0]
    (told,) = json.loads(files["quarantines.json"])
    assert (told["reason"], told["decided_by"], told["ballots"]) == ("Came all at once.", "user anna", 12)


def test_with_stepped_results_a_bundle_lists_single_marks() -> None:
    poll = open_poll(method="multiple", max_selections=3, release_step=5)
    fill(poll, range(6), 1, 2)
    fill(poll, range(6, 7), 1, 2, 3)
    count()
    poll = lifecycle.publish_poll(close(poll).pk)
    bundle = bundle_of(poll)
    assert manifest_of(bundle)["ballots"] == "marks"
    assert lines(content_of(bundle)["ballots.csv"]) == ["selection", *"1" * 7, *"2" * 7, "3"]


def test_dead_letters_are_counted_but_not_listed() -> None:
    poll = open_poll()
    fill(poll, range(3), 1)
    append(new_ballot(poll, 50, 77), new_ballot(poll, 51, 78))
    count()
    dead_letters.reject_letter(DeadLetter.objects.first().pk, by="anna")  # type: ignore[union-attr]
    poll = lifecycle.publish_poll(close(poll).pk)
    counts = manifest_of(bundle_of(poll))["counts"]
    assert counts == {"counted": 3, "quarantined": 0, "withheld": 0, "waiting": 1, "rejected": 1}


def test_a_round_without_ballots_has_a_bundle() -> None:
    files = content_of(bundle_of(published(0)[0]))
    assert (files["receipts.txt"], files["ballots.csv"]) == (b"", b"selection\n")


def test_a_bundle_has_the_texts_of_its_round() -> None:
    poll, _ = published()
    poll = lifecycle.reset_poll(poll.pk)
    poll.choices.filter(number=1).update(label="Renamed")
    labels = [each["label"] for each in manifest_of(bundle_of(poll, 1))["choices"]]
    assert labels == ["Choice 1", "Choice 2", "Choice 3"]


def test_a_bundle_has_the_rules_of_its_round() -> None:
    """The poll is published, reset and then changed before the bundle is made."""
    poll, _ = published(method="multiple", max_selections=3, revote=True, identity="client")
    steps, _ = published(method="multiple", max_selections=3, release_step=5)
    for each, changes in (
        (poll, {"revote": False, "identity": "browser", "release_step": 5}),
        (steps, {"release_step": 1}),
    ):
        lifecycle.reset_poll(each.pk)
        drafts.change_poll(each.pk, **changes)
    facts = manifest_of(bundle_of(poll, 1))
    assert (facts["who_may_vote"], facts["ballots"]) == ("client", "whole")
    assert facts["rules"] == {"least": 1, "most": 3, "revote": True}
    assert manifest_of(bundle_of(steps, 1))["ballots"] == "marks"


def test_rules_missing_in_an_old_round_come_from_its_poll() -> None:
    poll, _ = published(revote=True, identity="client")
    round_ = Round.objects.get(poll=poll)
    del round_.rules["revote"], round_.rules["identity"]  # an earlier version opened rounds without these
    round_.save()
    facts = manifest_of(bundle_of(poll))
    assert (facts["who_may_vote"], facts["rules"]["revote"]) == ("client", True)


def test_many_lines_are_sorted_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(external_sort, "RUN", 7)
    given = [f"{number * 7919 % 1000:03}\n" for number in range(100)]
    assert list(external_sort.sorted_lines(given, tmp_path)) == sorted(given)
    assert list(external_sort.sorted_lines([], tmp_path)) == []
    assert list(external_sort.sorted_lines(given[:7], tmp_path)) == sorted(given[:7])
    assert list(tmp_path.iterdir()) == []  # temporary files are unlinked as soon as they are open


# --- when they are made ---


def test_upkeep_makes_a_missing_bundle_once() -> None:
    poll, _ = published()
    assert bundles.current(poll) is None
    tasks.upkeep()
    bundle = bundles.current(poll)
    assert bundle and bundle.size == (Path(settings.DATA_DIR) / "audit" / bundle.file).stat().st_size
    made = AuditBundle.objects.count()
    tasks.make_bundles()
    assert AuditBundle.objects.count() == made


def test_no_bundle_before_publishing() -> None:
    poll = close(open_poll())
    with pytest.raises(BundleRefused):
        bundle_of(poll)
    tasks.upkeep()
    assert not AuditBundle.objects.exists()


def test_no_bundle_of_a_drifted_tally(caplog: Any) -> None:
    poll, _ = published()
    Tally.objects.filter(poll_id=poll.pk, key="1").update(count=99)
    tasks.upkeep()
    assert not AuditBundle.objects.exists()
    assert "bundle_refused" in caplog.text


def test_a_changed_result_gets_a_new_bundle() -> None:
    poll = open_poll()
    fill(poll, range(3), 1)
    append(new_ballot(poll, 50, 77))
    count()
    poll = lifecycle.publish_poll(close(poll).pk)
    first = bundle_of(poll)
    rules = Round.objects.get(poll=poll)
    rules.rules["numbers"].append(77)
    rules.save()
    dead_letters.count_letter(DeadLetter.objects.get().pk, by="anna")
    poll = Poll.objects.get(pk=poll.pk)
    assert bundles.current(poll) is None
    tasks.upkeep()
    second = bundles.current(poll)
    assert second and second.epoch > first.epoch
    assert len(lines(content_of(second)["receipts.txt"])) == 4
    assert len(lines(content_of(first)["receipts.txt"])) == 3  # earlier bundles are kept


def test_two_workers_make_one_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    poll, _ = published()
    write = bundles._write

    def write_slowly(*given: Any) -> None:
        write(*given)
        monkeypatch.setattr(bundles, "_write", write)
        bundle_of(poll)  # another worker, meanwhile

    monkeypatch.setattr(bundles, "_write", write_slowly)
    made = bundle_of(poll)
    assert [row.pk for row in AuditBundle.objects.all()] == [made.pk]
    folder = Path(settings.DATA_DIR) / "audit"
    assert [name for name in os.listdir(folder) if poll.code in name] == [made.file]
    assert not [name for name in os.listdir(folder) if name.startswith(".draft-")]
    assert (folder / made.file).stat().st_mode & 0o777 == 0o600


# --- downloads ---


def downloads(client: Client, address: str, **options: Any) -> bool:
    answer = client.get(address, **options)
    return answer.status_code == 200 and b"".join(answer.streaming_content).startswith(b"PK")


def test_the_bundle_of_a_public_result_is_public() -> None:
    poll, _ = published()
    bundle = bundle_of(poll)
    answer = Client().get(f"/api/v1/polls/{poll.code.lower()}/audit/")
    assert answer.status_code == 200
    content = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert hashlib.sha256(content).hexdigest() == bundle.sha256 == answer["ETag"].strip('"')
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Length"] == str(len(content))
    assert f"landslide-audit-{poll.code}-round1.zip" in answer["Content-Disposition"]


@pytest.mark.parametrize("accept", ["application/zip", "application/json", "text/html,*/*;q=0.8"])
def test_a_bundle_is_served_for_any_accept_header(accept: str) -> None:
    poll, _ = published()
    bundle_of(poll)
    assert downloads(Client(), f"/api/v1/polls/{poll.code}/audit/", headers={"Accept": accept})
    refused = Client().get("/api/v1/polls/NOPE42/audit/", headers={"Accept": accept})
    assert (refused.status_code, refused.json()["code"]) == (404, "poll_not_found")


def refused_audit(poll: Poll, client: Client, query: str = "") -> bool:
    answer = client.get(f"/api/v1/polls/{poll.code}/audit/{query}")
    return answer.status_code == 404 and answer.json()["code"] == "audit_not_found"


def test_a_missing_bundle_is_not_found() -> None:
    poll = open_poll()
    assert refused_audit(poll, Client())
    poll = close(poll)
    assert refused_audit(poll, Client())
    assert refused_audit(lifecycle.publish_poll(poll.pk), Client())


def test_the_bundle_of_a_staff_result_is_for_staff() -> None:
    poll, _ = published(results_visible="staff")
    bundle_of(poll)
    assert refused_audit(poll, Client())
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    assert downloads(boss, f"/api/v1/polls/{poll.code}/audit/")


def test_the_bundle_of_an_earlier_staff_result_is_for_staff() -> None:
    poll, _ = published(results_visible="staff")
    bundle_of(poll)
    poll = lifecycle.reset_poll(poll.pk)
    assert refused_audit(poll, Client()) and refused_audit(poll, Client(), "?round=1")
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    assert downloads(boss, f"/api/v1/polls/{poll.code}/audit/?round=1")
    assert refused_audit(poll, boss, "?round=2")
    for odd in ("x", "0", "32768", "00000112345", "1" * 5000):
        assert boss.get(f"/api/v1/polls/{poll.code}/audit/?round={odd}").json()["code"] == "malformed"


def test_the_api_shows_the_key() -> None:
    told = Client().get("/api/v1/audit-key/").json()
    assert told["scheme"] == "Ed25519"
    assert bytes.fromhex(told["public_key"]) == signing.public_key()
    assert told["fingerprint"] == hashlib.sha256(signing.public_key()).hexdigest()
    assert settings.AUDIT_KEY not in json.dumps(told)
