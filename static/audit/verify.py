#!/usr/bin/env python3
"""Checks an audit bundle of a Landslide poll. Needs Python 3.8 or later, and nothing else.

    python3 verify.py bundle.zip --key FINGERPRINT [--receipt RECEIPT]

It shares no code with the server: it reads the published files, checks the signature (Ed25519, RFC 8032),
that the lists are what was signed, that they fit together, and counts the ballots again.

FINGERPRINT is the organiser's, from a place that you trust more than where the bundle came from. Without
it anybody could have signed the bundle, and the answer is "consistent", not "genuine".

Ends with 0: genuine. 1: something is wrong. 2: it couldn't be run as asked. 3: consistent, but nobody has
said whose key it must be. 4: genuine or consistent, but the receipt is not in it.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
import zipfile

FORMAT = "landslide-audit/1"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
LISTS = ("receipts.txt", "ballots.csv", "quarantined-receipts.txt", "quarantined-ballots.csv")
DOCUMENTS = ("README.txt", "tally.json", "quarantines.json")
RECEIPT = re.compile(rb"[A-Za-z0-9_-]{72}\n")
SELECTION = re.compile(rb"[1-9][0-9]?( [1-9][0-9]?)*\n")
LINE_AT_MOST = 1 << 20
DOCUMENT_AT_MOST = 16 * 1024 * 1024


class Wrong(Exception):
    """What is wrong with the bundle, in a sentence."""


# --- Ed25519, after RFC 8032, section 6 ---

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    g, h = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    m, n, o, q = f - e, h - g, h + g, f + e
    return m * n % P, o * q % P, n * o % P, m * q % P


def times(number, point):
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def same(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def decoded(octets):
    """The point that 32 octets stand for; None for any that no point is written as."""
    y = int.from_bytes(octets, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = decoded((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key, message, signature):
    """Whether `signature` (64 octets) of `message` was made with the secret behind `key` (32 octets)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = decoded(key), decoded(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    return same(times(s, BASE), add(r, times(int.from_bytes(digest, "little") % L, a)))


# --- the count, method by method ---


def check_marks(marks, numbers, least, most):
    if marks != sorted(set(marks)):
        return "marks a choice twice, or not in order"
    if not set(marks) <= numbers:
        return "marks a choice that the poll doesn't have"
    return None if least <= len(marks) <= most else "has too few or too many marks"


def most_votes(votes):
    most = max(votes.values(), default=0)
    return [number for number in sorted(votes) if votes[number] == most] if most else []


#: method -> (what is wrong with a ballot's marks, or None; the winners by votes)
METHODS = {
    "single": (lambda marks, numbers, least, most: check_marks(marks, numbers, 1, 1), most_votes),
    "multiple": (check_marks, most_votes),
}


# --- the files ---


def document(text, what):
    """JSON without what could be read in two ways."""

    def once(pairs):
        if len({name for name, _ in pairs}) < len(pairs):
            raise Wrong(f"{what} names a field twice.")
        return dict(pairs)

    def refuse(name):
        raise Wrong(f"{what} holds {name}.")

    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{what} can't be read: {error}") from None


def content(bundle, name):
    with bundle.open(name) as file:
        read = file.read(DOCUMENT_AT_MOST + 1)
    if len(read) > DOCUMENT_AT_MOST:
        raise Wrong(f"{name} is too large.")
    return read


def lines(bundle, name, facts):
    """The lines of a file, while it is compared with what the manifest says of it."""
    digest, size, count = hashlib.sha256(), 0, 0
    with bundle.open(name) as file:
        while True:
            line = file.readline(LINE_AT_MOST)
            if not line:
                break
            digest.update(line)
            size, count = size + len(line), count + 1
            if not line.endswith(b"\n"):
                raise Wrong(f"{name}, line {count}: it is too long, or its end is missing.")
            yield line
    found = {"sha256": digest.hexdigest(), "bytes": size, "lines": count}
    if found != facts:
        raise Wrong(f"{name} is not the file that was signed.")


def checked_manifest(bundle, key):
    """The manifest, once its signature is right and the files are exactly those it lists."""
    names = bundle.namelist()
    expected = {MANIFEST, SIGNATURE, *LISTS, *DOCUMENTS}
    if len(set(names)) < len(names):
        raise Wrong("The bundle holds a file twice.")
    if set(names) != expected:
        odd = ", ".join(sorted(set(names) ^ expected))
        raise Wrong(f"The bundle lacks a file, or holds one that doesn't belong there: {odd}.")
    raw, signature = content(bundle, MANIFEST), content(bundle, SIGNATURE)
    manifest = document(raw, MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Wrong(f"The bundle is not of the format {FORMAT}; is there a newer verifier?")
    public = bytes.fromhex(manifest["signature"]["public_key"])
    if manifest["signature"]["scheme"] != "Ed25519":
        raise Wrong("The signature is of a scheme that this verifier doesn't know.")
    try:
        octets = base64.b64decode(signature.rstrip(b"\n"), validate=True)
    except ValueError:
        raise Wrong("The signature can't be read.") from None
    if base64.b64encode(octets) + b"\n" != signature or not signed(public, raw, octets):
        raise Wrong("The signature is wrong: the manifest has been changed, or was signed by somebody else.")
    if key is not None and hashlib.sha256(public).hexdigest() != key:
        raise Wrong("The bundle is signed with another key than the organiser's.")
    if set(manifest["files"]) != {*LISTS, *DOCUMENTS}:
        raise Wrong("The manifest lists other files than there are.")
    return manifest


def receipts(bundle, name, manifest):
    """The receipts of a list, which must be in order and so without doubles."""
    before = b""
    for number, line in enumerate(lines(bundle, name, manifest["files"][name]), 1):
        if not RECEIPT.fullmatch(line):
            raise Wrong(f"{name}, line {number}: that is no receipt.")
        if line <= before:
            raise Wrong(f"{name}, line {number}: the receipt is there twice, or out of order.")
        before = line
        yield line


def in_both(some, others):
    """How many lines two lists in order have in common; goes through both to their ends."""
    shared, one, other = 0, next(some, None), next(others, None)
    while one is not None or other is not None:
        shared += one == other
        if other is None or (one is not None and one < other):
            one = next(some, None)
        elif one is None or other < one:
            other = next(others, None)
        else:
            one, other = next(some, None), next(others, None)
    return shared


def counted(bundle, name, manifest):
    """(ballots, votes by choice), counted from the ballots' own marks."""
    check = METHODS[manifest["method"]][0]
    numbers = {choice["number"] for choice in manifest["choices"]}
    least, most = manifest["rules"]["least"], manifest["rules"]["most"]
    if manifest["ballots"] == "marks":
        least = most = 1  # the marks of all ballots, one a line, so that no combination of them shows
    votes, ballots, known, before = dict.fromkeys(sorted(numbers), 0), 0, {}, b""
    for number, line in enumerate(lines(bundle, name, manifest["files"][name])):
        if number == 0:
            if line != b"selection\n":
                raise Wrong(f"{name} doesn't begin with its heading.")
            continue
        if line not in known:
            known[line] = marks_of(line, f"{name}, line {number + 1}", check, (numbers, least, most))
        if line < before:
            raise Wrong(f"{name}, line {number + 1}: the ballots are out of order.")
        before, ballots = line, ballots + 1
        for mark in known[line]:
            votes[mark] += 1
    return ballots, votes


def marks_of(line, where, check, rules):
    if not SELECTION.fullmatch(line):
        raise Wrong(f"{where}: that is no ballot.")
    marks = [int(mark) for mark in line.split()]
    wrong = check(marks, *rules)
    if wrong:
        raise Wrong(f"{where}: the ballot {wrong}.")
    return marks


def figures(manifest, ballots, votes):
    return {
        "ballots": ballots,
        "selections": sum(votes.values()),
        "choices": [{**choice, "votes": votes[choice["number"]]} for choice in manifest["choices"]],
    }


def check_counts(bundle, manifest):
    """Count both lists of ballots again; the tally that they make."""
    if manifest["method"] not in METHODS or manifest["ballots"] not in ("whole", "marks"):
        raise Wrong("The ballots are of a method that this verifier doesn't know; is there a newer one?")
    tally = {}
    for part, count in (("", "counted"), ("quarantined-", "quarantined")):
        listed = manifest["files"][f"{part}receipts.txt"]["lines"]
        ballots, votes = counted(bundle, f"{part}ballots.csv", manifest)
        if manifest["ballots"] == "whole" and ballots != listed:
            raise Wrong(f"There are {listed} receipts in {part}receipts.txt, but {ballots} ballots.")
        if manifest["counts"][count] != listed:
            raise Wrong(f"The manifest says {manifest['counts'][count]} ballots, but {listed} are listed.")
        check_marks_possible(manifest, listed, votes, part)
        tally[count] = figures(manifest, listed, votes)
    winners = METHODS[manifest["method"]][1]
    votes = {choice["number"]: choice["votes"] for choice in tally["counted"]["choices"]}
    tally["counted"]["winners"] = winners(votes)
    return tally


def check_marks_possible(manifest, ballots, votes, part):
    least, most = manifest["rules"]["least"], manifest["rules"]["most"]
    if not least * ballots <= sum(votes.values()) <= most * ballots or max(votes.values()) > ballots:
        raise Wrong(f"{part}ballots.csv has marks that so many ballots can't make.")


def check_documents(bundle, manifest, tally):
    read = {}
    for name in DOCUMENTS:
        text = b"".join(lines(bundle, name, manifest["files"][name]))
        if name.endswith(".json"):
            read[name] = document(text, name)
    if read["tally.json"] != tally:
        raise Wrong("The tally is not what the ballots come to.")
    apart = sum(quarantine["ballots"] for quarantine in read["quarantines.json"])
    if apart != manifest["counts"]["quarantined"]:
        raise Wrong("The quarantines don't account for the ballots that are counted apart.")
    return read["quarantines.json"]


def find(bundle, receipt):
    """The list that the receipt is in, or None."""
    wanted = receipt.encode() + b"\n"
    for name in ("receipts.txt", "quarantined-receipts.txt"):
        with bundle.open(name) as file:
            if any(line == wanted for line in file):
                return name
    return None


# --- what it says ---


def tell(text=""):
    sys.stdout.buffer.write(f"{text}\n".encode("utf-8", "replace"))


def shown(text):
    """Text from the bundle, without what could make a terminal show something else."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def grouped(key):
    return " ".join(key[i : i + 8] for i in range(0, len(key), 8))


def tell_tally(manifest, tally, quarantines):
    tell(f"Poll {shown(manifest['poll'])}, round {manifest['round']}: {shown(manifest['question'])}")
    for step in ("closed", "published"):
        if manifest[f"{step}_at"]:
            tell(f"{step.capitalize()}: {shown(manifest[f'{step}_at'])}")
    tell()
    for choice in tally["counted"]["choices"]:
        won = "  <- won" if choice["number"] in tally["counted"]["winners"] else ""
        tell(f"  {choice['votes']:>12,}  {shown(choice['label'])}{won}")
    tell(f"  {tally['counted']['ballots']:>12,}  ballots")
    if quarantines:
        tell(f"\nCounted apart, in quarantine: {tally['quarantined']['ballots']:,} ballots")
        for each in quarantines:
            state = ", released" if each["released_at"] else ""
            tell(f"  {each['ballots']:>12,}  {shown(each['reason'])} ({shown(each['decided_by'])}{state})")
    for status, words in (("rejected", "rejected for good"), ("waiting", "set aside, not settled")):
        if manifest["counts"][status]:
            tell(f"  {manifest['counts'][status]:>12,}  accepted ballots {words}: in no list")
    tell()
    for text in (
        "The manifest is signed, and the files are the ones that were signed.",
        "No receipt is listed twice"
        + ("; there is a ballot for each." if manifest["ballots"] == "whole" else "."),
        "Every ballot keeps to the poll's rules, and the tally is what they come to.",
    ):
        tell(f"ok  {text}")


def verify(bundle, key, receipt):
    manifest = checked_manifest(bundle, key)
    first, second = (receipts(bundle, name, manifest) for name in LISTS[::2])
    if in_both(first, second):
        raise Wrong("A receipt is listed both as counted and as counted apart.")
    tally = check_counts(bundle, manifest)
    tell_tally(manifest, tally, check_documents(bundle, manifest, tally))
    place = find(bundle, receipt) if receipt else None
    if receipt:
        words = {
            "receipts.txt": "ok  Your receipt is listed: your ballot is counted.",
            "quarantined-receipts.txt": "ok  Your receipt is listed: your ballot is counted apart.",
            None: "NOT FOUND: your receipt is in neither list.",
        }
        tell(words[place])
    fingerprint = hashlib.sha256(bytes.fromhex(manifest["signature"]["public_key"])).hexdigest()
    if key is None:
        tell("\nCONSISTENT, but whose is it? Anybody can sign a bundle. Compare this with the organiser's")
        tell(f"fingerprint, or run it again with --key:\n  {grouped(fingerprint)}")
    else:
        tell(f"\nGENUINE: signed with the key {grouped(fingerprint)}.")
    if receipt and place is None:
        return 4
    return 3 if key is None else 0


def main():
    parser = argparse.ArgumentParser(description="Check an audit bundle of a Landslide poll.")
    parser.add_argument("bundle", help="the zip file")
    parser.add_argument("--key", help="the organiser's fingerprint: 64 hexadecimal digits")
    parser.add_argument("--receipt", help="a receipt to look for")
    options = parser.parse_args()
    key = re.sub(r"[\s:-]", "", options.key).lower() if options.key is not None else None
    if key is not None and not re.fullmatch("[0-9a-f]{64}", key):
        parser.error("a fingerprint has 64 hexadecimal digits")
    try:
        with zipfile.ZipFile(options.bundle) as bundle:
            return verify(bundle, key, options.receipt)
    except Wrong as wrong:
        tell(f"FAILED: {wrong}")
    except FileNotFoundError:
        parser.error(f"there is no file {options.bundle}")
    except Exception as error:  # a damaged file can make any library raise anything: it is no proof then
        tell(f"FAILED: the bundle is damaged or not one of ours ({type(error).__name__}: {shown(error)}).")
    return 1


if __name__ == "__main__":
    sys.exit(main())
