"""The verifier passes bundles that the server made, and fails on everything else."""

import ast
import base64
import hashlib
import importlib.util
import io
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings as django_settings
from django.db import transaction
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.audit import bundles, signing
from analytics.models import Quarantine, Tally
from polls import lifecycle, votelog
from polls.methods import METHODS
from polls.models import Ballot, Poll
from tests.analytics.audit_bundles import (
    VERIFIER,
    Answer,
    bundle_of,
    close,
    content_of,
    published,
    receipt_of,
    run_verifier,
    unzipped,
    zipped,
)
from tests.factories import count, fill, open_poll

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
Files = dict[str, bytes]


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify", VERIFIER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verify = loaded()


@pytest.fixture(scope="module")
def real(django_db_setup: Any, django_db_blocker: Any) -> Any:
    """A bundle that the server made, with ballots of both tallies. It is made once for all tests."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]  # as around any test
    # The vote log is in the database too, so that everything is rolled back.
    with django_db_blocker.unblock(), override_settings(VOTE_LOG="database"), block:
        votelog.forget_log()
        answer = make_real()
        transaction.set_rollback(True)
    votelog.forget_log()
    return answer


def make_real() -> tuple[bytes, list[str]]:
    poll = open_poll(method="multiple", max_selections=2, question="What “now”?")
    ballots = fill(poll, range(9), 1)
    ballots += fill(poll, range(9, 14), 1, 3)
    apart = fill(poll, range(14, 24), 2)
    count()
    decision = Quarantine.objects.create(
        poll_id=poll.pk, round=1, rule="operator", reason="All at once", decided_by="user anna"
    )
    keys = [ballot.voter_key for ballot in apart]
    Ballot.objects.filter(poll_id=poll.pk, voter_key__in=keys).update(quarantine_id=decision.pk)
    Tally.objects.filter(poll_id=poll.pk).delete()
    counts = {"ballots": 14, "1": 14, "3": 5, "quarantined:ballots": 10, "quarantined:2": 10}
    for key, votes in counts.items():
        Tally.objects.create(poll_id=poll.pk, round=1, key=key, partition=0, count=votes, changes=1)
    poll = lifecycle.publish_poll(close(poll).pk)
    with bundles.open_file(bundle_of(poll)) as file:
        return file.read(), [receipt_of(ballot) for ballot in (*ballots, *apart)]


def verdict(archive: bytes, key: str | None = None, receipt: str | None = None) -> int:
    """Run the verifier in this process, by default with the organiser's key. Return its exit code."""
    with zipfile.ZipFile(io.BytesIO(archive)) as bundle:
        code: int = verify.verify(bundle, key or signing.fingerprint(), receipt)
        return code


def fails(archive: bytes) -> bool:
    try:
        return verdict(archive) != 0
    except Exception:  # main() reports any other exception as "damaged"
        return True


def signed_again(files: Files, key: Ed25519PrivateKey | None = None) -> Files:
    """Update the hashes and sign again, as a forger with this key could."""
    key = key or our_key()
    manifest = json.loads(files["manifest.json"])
    for name in manifest["files"]:
        content = files[name]
        entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        manifest["files"][name] = entry | {"lines": content.count(b"\n")}
    manifest["signature"]["public_key"] = key.public_key().public_bytes_raw().hex()
    text = json.dumps(manifest).encode()
    signature = base64.b64encode(key.sign(text)) + b"\n"
    return files | {"manifest.json": text, "manifest.sig": signature}


def our_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(django_settings.AUDIT_KEY))


# --- valid bundles ---


@pytest.mark.django_db
class TestRealBundles:
    def test_the_verifier_runs_as_a_program(self, tmp_path: Path, real: Any) -> None:
        archive, _receipts = real
        path = tmp_path / "bundle.zip"
        path.write_bytes(archive)
        consistent = run_verifier(path)
        assert consistent.code == 3
        assert signing.format_fingerprint(signing.fingerprint()) in consistent.said
        genuine = run_verifier(path, "--key", signing.format_fingerprint(signing.fingerprint()).upper())
        assert (genuine.code, "GENUINE" in genuine.said) == (0, True)
        assert "What “now”?" in genuine.said and "All at once" in genuine.said
        assert run_verifier(path, "--key", "0" * 64).code == 1
        assert run_verifier(path, "--key", "abc").code == 2
        assert run_verifier(tmp_path / "none.zip").code == 2

    def test_a_receipt_is_found(self, real: Any, capsys: Any) -> None:
        archive, receipts = real
        assert verdict(archive, receipt=receipts[0]) == 0
        assert "your ballot is counted." in capsys.readouterr().out
        assert verdict(archive, receipt=receipts[-1]) == 0
        assert "your ballot is in quarantine." in capsys.readouterr().out
        assert verdict(archive, receipt=receipts[0].swapcase()) == 4
        assert "NOT FOUND" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"method": "multiple", "max_selections": 3},
            {"method": "multiple", "max_selections": 3, "release_step": 5},
        ],
    )
    @pytest.mark.parametrize("voters", [0, 1, 7])
    def test_every_kind_of_poll_passes(self, fields: dict[str, Any], voters: int) -> None:
        poll, _ = published(voters, **fields)
        with bundles.open_file(bundle_of(poll)) as file:
            assert verdict(file.read()) == 0

    def test_the_verifier_knows_every_method(self) -> None:
        assert set(verify.METHODS) == set(METHODS)

    def test_marks_of_all_ballots_are_counted(self) -> None:
        poll = open_poll(method="multiple", max_selections=3, release_step=5)
        fill(poll, range(4), 1, 2, 3)
        count()
        poll = Poll.objects.get(pk=lifecycle.publish_poll(close(poll).pk).pk)
        files = content_of(bundle_of(poll))
        assert verdict(zipped(files)) == 0
        for ballots in (b"selection\n1\n1\n1\n1\n2\n2\n2\n2\n3\n3\n3\n", b"selection\n" + b"1\n" * 12):
            assert fails(zipped(signed_again(files | {"ballots.csv": ballots})))


def test_the_verifier_imports_only_the_standard_library() -> None:
    tree = ast.parse(VERIFIER.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    assert imported <= sys.stdlib_module_names


# --- invalid bundles ---


@settings(max_examples=EXAMPLES or 30)
@given(data=st.data())
def test_any_changed_added_or_removed_byte_fails(real: Any, data: st.DataObject) -> None:
    files = unzipped(real[0])
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    place = data.draw(st.integers(0, len(content)))
    how = data.draw(st.sampled_from(["change", "add", "cut"])) if place < len(content) else "add"
    if how == "change":
        content[place] ^= data.draw(st.integers(1, 255))
    elif how == "add":
        content.insert(place, data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b"\n\r 1"))))
    else:
        del content[place]
    assert fails(zipped(files | {name: bytes(content)}))


CHANGES: dict[str, Callable[[list[bytes], int, int], list[bytes]]] = {
    "doubled": lambda lines, a, b: [*lines[: a + 1], lines[a], *lines[a + 1 :]],
    "missing": lambda lines, a, b: [*lines[:a], *lines[a + 1 :]],
    "swapped": lambda lines, a, b: [
        *[lines[b] if n == a else lines[a] if n == b else x for n, x in enumerate(lines)]
    ],
    "moved": lambda lines, a, b: [*lines[:a], *lines[a + 1 :], lines[a]],
    "replaced": lambda lines, a, b: [*lines[:a], lines[b], *lines[a + 1 :]],
}


@settings(max_examples=EXAMPLES or 30)
@given(data=st.data())
def test_any_duplicated_missing_or_moved_line_fails(real: Any, data: st.DataObject) -> None:
    files = unzipped(real[0])
    name = data.draw(st.sampled_from(sorted(name for name in files if files[name])))
    lines = files[name].splitlines(keepends=True)
    places = st.integers(0, len(lines) - 1)
    changed = CHANGES[data.draw(st.sampled_from(sorted(CHANGES)))](
        lines, data.draw(places), data.draw(places)
    )
    if b"".join(changed) != files[name]:
        assert fails(zipped(files | {name: b"".join(changed)}))


@settings(max_examples=EXAMPLES or 40)
@given(data=st.data())
def test_signed_lists_that_do_not_fit_together_fail(real: Any, data: st.DataObject) -> None:
    """Hashes and signature are right, but receipts, ballots and tally don't agree."""
    files = unzipped(real[0])
    lists = ["receipts.txt", "ballots.csv", "quarantined-receipts.txt", "quarantined-ballots.csv"]
    name = data.draw(st.sampled_from(lists))
    lines = files[name].splitlines(keepends=True)
    places = st.integers(0, len(lines) - 1)
    changed = CHANGES[data.draw(st.sampled_from(sorted(CHANGES)))](
        lines, data.draw(places), data.draw(places)
    )
    if b"".join(changed) != files[name]:
        assert fails(zipped(signed_again(files | {name: b"".join(changed)})))


@settings(max_examples=EXAMPLES or 40)
@given(data=st.data())
def test_a_damaged_archive_fails_or_has_the_same_contents(real: Any, data: st.DataObject) -> None:
    archive = bytearray(real[0])
    place = data.draw(st.integers(0, len(archive) - 1))
    if data.draw(st.booleans()):
        archive[place] ^= data.draw(st.integers(1, 255))
    else:
        del archive[place:]  # an incomplete download
    assert fails(bytes(archive)) or unzipped(bytes(archive)) == unzipped(real[0])


@pytest.mark.parametrize("place", [0, 1, 22, 100, -1, -22, -100])
def test_an_incomplete_download_fails(real: Any, place: int, tmp_path: Path) -> None:
    assert fails(real[0][:place])


def forged(files: Files) -> list[tuple[str, Files]]:
    stranger = Ed25519PrivateKey.generate()
    receipts = files["receipts.txt"].splitlines(keepends=True)
    ballots = files["ballots.csv"].splitlines(keepends=True)
    tally = json.loads(files["tally.json"])
    tally["counted"]["choices"][0]["votes"] += 1
    return [
        ("signed by a stranger", signed_again(files, stranger)),
        ("a stranger's signature", files | {"manifest.sig": signed_again(files, stranger)["manifest.sig"]}),
        ("hashes put right, not signed", signed_again(files) | {"manifest.sig": files["manifest.sig"]}),
        ("no signature", {k: v for k, v in files.items() if k != "manifest.sig"}),
        ("no list", {k: v for k, v in files.items() if k != "quarantined-ballots.csv"}),
        ("another file", files | {"ballots-2.csv": b"selection\n1\n"}),
        (
            "lists swapped",
            files | {"receipts.txt": files["ballots.csv"], "ballots.csv": files["receipts.txt"]},
        ),
        (
            "lists swapped and signed",
            signed_again(
                files
                | {
                    "receipts.txt": files["quarantined-receipts.txt"],
                    "quarantined-receipts.txt": files["receipts.txt"],
                }
            ),
        ),
        (
            "a receipt and its ballot in both lists",
            signed_again(
                files | {"quarantined-receipts.txt": b"".join([receipts[0], *_last(files, receipts[0])])}
            ),
        ),
        ("another tally", signed_again(files | {"tally.json": json.dumps(tally).encode()})),
        (
            "a ballot that marks too much",
            signed_again(files | {"ballots.csv": b"".join(ballots) + b"1 2 3\n"}),
        ),
        ("a choice that isn't there", signed_again(files | {"ballots.csv": b"".join(ballots[:-1]) + b"9\n"})),
        ("a doubled mark", signed_again(files | {"ballots.csv": b"".join(ballots[:-1]) + b"3 3\n"})),
        ("no heading", signed_again(files | {"ballots.csv": b"".join(ballots[1:])})),
        ("no quarantine", signed_again(files | {"quarantines.json": b"[]\n"})),
        ("a receipt cut short", signed_again(files | {"receipts.txt": b"".join(receipts)[:-2] + b"\n"})),
        ("no last line end", signed_again(files | {"receipts.txt": b"".join(receipts)[:-1]})),
    ]


def _last(files: Files, other: bytes) -> list[bytes]:
    """Return the quarantined receipts that sort after `other`; if all do, leave out the last."""
    listed = files["quarantined-receipts.txt"].splitlines(keepends=True)
    return [line for line in listed if line > other][: len(listed) - 1]


def test_forgeries_fail(real: Any) -> None:
    files = unzipped(real[0])
    assert verdict(zipped(signed_again(files))) == 0, "a bundle that is only signed again must pass"
    passed = [name for name, forgery in forged(files) if not fails(zipped(forgery))]
    assert passed == []


def test_a_duplicate_file_fails(real: Any) -> None:
    files = unzipped(real[0])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("receipts.txt", b"fake\n")
        for name, content in files.items():
            with warnings.catch_warnings(action="ignore"):
                bundle.writestr(name, content)
    assert fails(archive.getvalue())


def test_an_ambiguous_manifest_fails(real: Any) -> None:
    files = unzipped(real[0])
    text = files["manifest.json"].replace(b'"poll":', b'"poll": "OTHER1",\n  "poll":', 1)
    signature = base64.b64encode(our_key().sign(text)) + b"\n"
    assert fails(zipped(files | {"manifest.json": text, "manifest.sig": signature}))


@settings(max_examples=EXAMPLES or 10)
@given(message=st.binary(max_size=200), seed=st.binary(min_size=32, max_size=32), data=st.data())
def test_ed25519_agrees_with_the_library(message: bytes, seed: bytes, data: st.DataObject) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert verify.signature_is_valid(public, message, signature)
    changed = bytearray(signature)
    changed[data.draw(st.integers(0, 63))] ^= data.draw(st.integers(1, 255))
    assert not verify.signature_is_valid(public, message, bytes(changed))
    assert not verify.signature_is_valid(public, message + b"\0", signature)
    # S + L is the same number modulo L, but RFC 8032 allows only one form of each signature.
    s = int.from_bytes(signature[32:], "little") + verify.L
    assert not verify.signature_is_valid(public, message, signature[:32] + s.to_bytes(32, "little"))


#: RFC 8032, section 7.1, test 2.
RFC_KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
RFC_SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_the_example_of_rfc_8032() -> None:
    assert verify.signature_is_valid(bytes.fromhex(RFC_KEY), b"\x72", bytes.fromhex(RFC_SIGNATURE))
    assert not verify.signature_is_valid(bytes.fromhex(RFC_KEY), b"\x73", bytes.fromhex(RFC_SIGNATURE))


def test_a_damaged_bundle_exits_with_1(tmp_path: Path) -> None:
    path = tmp_path / "no.zip"
    path.write_bytes(b"not a zip")
    answer = run_verifier(path)
    assert isinstance(answer, Answer) and answer.code == 1
    assert answer.said.startswith("FAILED: the bundle is damaged")


# --- output ---

SPOOF = "\x1b[2J\x1b[H\nGENUINE: signed with the key 00000000\r\u202e\u2028\x9b1m"


def said_of(archive: bytes, tmp_path: Path, *options: str) -> Answer:
    """Run the verifier with the organiser's key. Its output must have no control characters but newlines."""
    path = tmp_path / "bundle.zip"
    path.write_bytes(archive)
    answer = run_verifier(path, "--key", signing.fingerprint(), *options)
    assert not [letter for letter in answer.said if letter != "\n" and not letter.isprintable()]
    assert ("GENUINE" in [line[:7] for line in answer.said.splitlines()]) == (answer.code == 0)
    return answer


def with_manifest(files: Files, *path: str, value: Any) -> bytes:
    """Return a bundle signed by the organiser, with another value at `path` in the manifest."""
    manifest = json.loads(files["manifest.json"])
    place = manifest
    for name in path[:-1]:
        place = place[int(name) if name.isdigit() else name]
    place[path[-1]] = value
    text = json.dumps(manifest).encode()
    signature = base64.b64encode(our_key().sign(text)) + b"\n"
    return zipped(files | {"manifest.json": text, "manifest.sig": signature})


def test_file_names_are_escaped_when_printed(tmp_path: Path) -> None:
    for name in (SPOOF, "manifest.json\x1b[2J"):
        assert said_of(zipped({name: b"x"}), tmp_path).code == 1
    answer = run_verifier(tmp_path / SPOOF.replace("/", ""))
    assert (answer.code, "\x1b" in answer.said) == (2, False)


@pytest.mark.parametrize(
    "place",
    [
        "poll", "round", "method", "ballots", "rules", "rules least", "choices", "choices 0 number",
        "closed_at", "published_at", "counts", "counts waiting", "counts withheld", "files",
        "files receipts.txt", "files receipts.txt bytes", "signature scheme", "signature fingerprint",
    ],
)  # fmt: skip
def test_values_of_a_wrong_type_or_range_fail(real: Any, place: str, tmp_path: Path) -> None:
    files = unzipped(real[0])
    for value in (SPOOF, -1, 10**16, 1.5, True, [SPOOF], {SPOOF: 1}, [[]]):
        archive = with_manifest(files, *place.split(), value=value)
        assert fails(archive), (place, value)
    assert said_of(archive, tmp_path).code == 1
    assert said_of(with_manifest(files, *place.split(), value=SPOOF), tmp_path).code == 1


def test_texts_are_escaped_when_printed(real: Any, tmp_path: Path) -> None:
    files = unzipped(real[0])
    said = said_of(with_manifest(files, "question", value=SPOOF), tmp_path).said
    assert r"\x1b[2J\x1b[H\nGENUINE" in said and r"\u202e\u2028\x9b1m" in said
    quarantines = json.loads(files["quarantines.json"])
    quarantines[0] |= {"reason": SPOOF, "decided_by": SPOOF}
    text = json.dumps(quarantines).encode() + b"\n"
    assert said_of(zipped(signed_again(files | {"quarantines.json": text})), tmp_path).code == 0


def test_spaces_and_joiners_are_not_escaped() -> None:
    for text in ("12\u00a0%", "10\u202f000", "می\u200cخواهم", "👩\u200d💻", "a\u3000b"):
        assert verify.printable(text) == text
    assert verify.printable("a\u200eb\ufeff\ud800") == r"a\u200eb\ufeff\ud800"


def test_a_label_cannot_pass_for_a_winner(real: Any, tmp_path: Path) -> None:
    files = unzipped(real[0])
    tally, manifest = json.loads(files["tally.json"]), json.loads(files["manifest.json"])
    for part in (tally["counted"], tally["quarantined"], manifest):
        part["choices"][1]["label"] = "won -> B"
    files |= {
        "tally.json": json.dumps(tally).encode() + b"\n",
        "manifest.json": json.dumps(manifest).encode(),
    }
    said = said_of(zipped(signed_again(files)), tmp_path).said.splitlines()
    assert [line.split()[2] for line in said if line.startswith("won ->")] == ["14"]


def test_an_invalid_receipt_is_a_usage_error(real: Any, tmp_path: Path) -> None:
    for receipt in ("", "A" * 71, "A" * 72 + "\n", "é" * 72, "\x1b" * 72):
        assert said_of(real[0], tmp_path, "--receipt", receipt).code == 2


# --- unpacking ---


def compressed(files: Files, method: int) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return archive.getvalue()


def test_other_compression_methods_fail(real: Any, tmp_path: Path) -> None:
    files = unzipped(real[0])
    assert said_of(compressed(files, zipfile.ZIP_DEFLATED), tmp_path).code == 0
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        answer = said_of(compressed(files, method), tmp_path)
        assert "compressed in a way that bundles don't use" in answer.said


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "receipts.txt", "quarantines.json"])
def test_large_files_are_not_unpacked(real: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = unzipped(real[0])
    bomb = compressed(files | {name: b"0" * (20 << 20)}, zipfile.ZIP_DEFLATED)
    opened = []
    real_open = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *a, **k: opened.append(a[1]) or real_open(*a, **k))
    with pytest.raises(verify.BundleError, match="too large"):
        verdict(bomb)
    assert name not in opened


def test_a_large_zip_directory_fails(tmp_path: Path) -> None:
    archive = zipped({f"{number:0200}": b"" for number in range(6000)})
    assert "directory is too large" in said_of(archive, tmp_path).said


def test_json_with_too_many_values_fails(real: Any) -> None:
    files = unzipped(real[0])
    for text in (b"[" + b"[]," * 600_000 + b"[]]\n", b"[" * 100_000 + b"]" * 100_000, b"1" * 5000):
        assert fails(zipped(signed_again(files | {"quarantines.json": text})))
