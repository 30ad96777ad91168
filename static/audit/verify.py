#!/usr/bin/env python3
"""Checks an audit bundle of a Landslide poll. Needs Python 3.8 or later, and nothing else.

    python3 verify.py bundle.zip --key FINGERPRINT [--receipt RECEIPT]

It shares no code with the server: it reads the published files, checks the signature (Ed25519, RFC 8032),
that the lists are what was signed, that they fit together, and counts the ballots again. A bundle may come
from anybody: nothing in it is unpacked before its size is known to be right, and no text of it reaches the
terminal unless its control characters are spelled out.

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
import unicodedata
import zipfile

FORMAT = "landslide-audit/1"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
LISTS = ("receipts.txt", "ballots.csv", "quarantined-receipts.txt", "quarantined-ballots.csv")
DOCUMENTS = ("README.txt", "tally.json", "quarantines.json")
RECEIPT = re.compile(rb"[A-Za-z0-9_-]{72}\n")
SELECTION = re.compile(rb"[1-9][0-9]?( [1-9][0-9]?)*\n")
LINE_AT_MOST = 1 << 20
#: In bytes: of what is read before the signature has been checked, and of documents that were signed.
DIRECTORY_AT_MOST, MANIFEST_AT_MOST, SIGNATURE_AT_MOST = 1 << 20, 1 << 20, 1 << 10
DOCUMENT_AT_MOST = 16 << 20
#: Values in a document: a short text may stand for many.
VALUES_AT_MOST = 500_000
#: As long as any number that a bundle names; and texts, in what is printed of them.
DIGITS_AT_MOST, SHOWN_AT_MOST = 15, 2000


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


class Bounded:
    """A file that is never read into memory as a whole, whatever its directory says."""

    def __init__(self, file):
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close
        self._file = file

    def read(self, size=-1):
        if size is None or size < 0:
            size = DIRECTORY_AT_MOST + 1
        read = self._file.read(min(size, DIRECTORY_AT_MOST + 1))
        if len(read) > DIRECTORY_AT_MOST:
            raise Wrong("The bundle's directory is too large.")
        return read


def document(text, what):
    """JSON without what could be read in two ways, and without numbers that no bundle needs."""

    def once(pairs):
        if len({name for name, _ in pairs}) < len(pairs):
            raise Wrong(f"{what} names a field twice.")
        return dict(pairs)

    def whole(digits):
        return int(digits) if len(digits) <= DIGITS_AT_MOST else refuse(digits)

    def refuse(number):
        raise Wrong(f"{what} holds the number {number[:DIGITS_AT_MOST]}, which is none of ours.")

    if sum(map(text.count, (b",", b"[", b"{"))) > VALUES_AT_MOST:
        raise Wrong(f"{what} holds too many values.")
    try:
        return json.loads(
            text.decode("utf-8"),
            object_pairs_hook=once,
            parse_int=whole,
            parse_float=refuse,
            parse_constant=refuse,
        )
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{what} can't be read: {error}") from None


def content(bundle, name, most):
    if bundle.getinfo(name).file_size > most:
        raise Wrong(f"{name} is too large.")
    with bundle.open(name) as file:
        return file.read(most)


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


def check_directory(bundle):
    """What can be said of the files before one of them is opened."""
    names = bundle.namelist()
    expected = {MANIFEST, SIGNATURE, *LISTS, *DOCUMENTS}
    if len(set(names)) < len(names):
        raise Wrong("The bundle holds a file twice.")
    if set(names) != expected:
        odd = ", ".join(sorted(set(names) ^ expected))
        raise Wrong(f"The bundle lacks a file, or holds one that doesn't belong there: {odd}.")
    for info in bundle.infolist():
        # Other ways to compress unpack a piece of any size at once.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise Wrong(f"{info.filename} is encrypted, or compressed in a way that no bundle is.")


def checked_manifest(bundle, key):
    """The manifest, once its signature is right and the files are exactly those it lists."""
    check_directory(bundle)
    raw = content(bundle, MANIFEST, MANIFEST_AT_MOST)
    signature = content(bundle, SIGNATURE, SIGNATURE_AT_MOST)
    manifest = document(raw, MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Wrong(f"The bundle is not of the format {FORMAT}; is there a newer verifier?")
    check_type(manifest, MANIFEST_IS, MANIFEST)
    public = bytes.fromhex(manifest["signature"]["public_key"])
    fingerprint = hashlib.sha256(public).hexdigest()
    if manifest["signature"]["scheme"] != "Ed25519":
        raise Wrong("The signature is of a scheme that this verifier doesn't know.")
    try:
        octets = base64.b64decode(signature.rstrip(b"\n"), validate=True)
    except ValueError:
        raise Wrong("The signature can't be read.") from None
    if base64.b64encode(octets) + b"\n" != signature or not signed(public, raw, octets):
        raise Wrong("The signature is wrong: the manifest has been changed, or was signed by somebody else.")
    if key is not None and fingerprint != key:
        raise Wrong("The bundle is signed with another key than the organiser's.")
    if manifest["signature"]["fingerprint"] != fingerprint:
        raise Wrong("The manifest names another fingerprint than its key has.")
    if set(manifest["files"]) != {*LISTS, *DOCUMENTS}:
        raise Wrong("The manifest lists other files than there are.")
    for name, facts in manifest["files"].items():
        most = DOCUMENT_AT_MOST if name in DOCUMENTS else facts["bytes"]
        if bundle.getinfo(name).file_size != facts["bytes"] or facts["bytes"] > most:
            raise Wrong(f"{name} is not of the size that was signed, or too large.")
    return manifest


# --- what a manifest and its quarantines are made of ---


def whole_number(least, most):
    return lambda value: type(value) is int and least <= value <= most


def text_like(pattern):
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def maybe(check):
    return lambda value: value is None or check(value)


TEXT, TIME, COUNT = text_like(r"(?s).*"), text_like(r"[0-9T:.+Z-]{10,40}"), whole_number(0, 10**12)
FILE_IS = {"sha256": text_like("[0-9a-f]{64}"), "bytes": COUNT, "lines": COUNT}
MANIFEST_IS = {
    "poll": text_like("[A-Z0-9]{1,20}"),
    "round": whole_number(1, 10**6),
    "question": TEXT,
    "method": TEXT,
    "ballots": TEXT,
    "rules": {"least": whole_number(0, 99), "most": whole_number(1, 99)},
    "choices": [{"number": whole_number(1, 99), "label": TEXT}],
    "closed_at": maybe(TIME),
    "published_at": maybe(TIME),
    # Bundles of earlier versions don't have the last one.
    "counts": {
        "counted": COUNT,
        "quarantined": COUNT,
        "waiting": COUNT,
        "rejected": COUNT,
        "withheld?": COUNT,
    },
    "files": dict.fromkeys(LISTS + DOCUMENTS, FILE_IS),
    "signature": {
        "scheme": TEXT,
        "public_key": text_like("[0-9a-f]{64}"),
        "fingerprint": text_like("[0-9a-f]{64}"),
    },
}
QUARANTINES_ARE = [
    {"rule": TEXT, "reason": TEXT, "decided_by": TEXT, "released_at": maybe(TIME), "ballots": COUNT},
]


def check_type(value, shape, where):
    """Wrong unless the value is of that shape: "name?" may be missing, anything may be there besides."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise Wrong(f"{where} has no fields.")
        for name, part in shape.items():
            known = name.rstrip("?")
            if known in value:
                check_type(value[known], part, f"{where}, {known}")
            elif known == name:
                raise Wrong(f"{where} lacks {name}.")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise Wrong(f"{where} is no list.")
        for number, each in enumerate(value, 1):
            check_type(each, shape[0], f"{where}, {number}")
    elif not shape(value):
        raise Wrong(f"{where} is not what belongs there.")


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
    votes, ballots, marks, before = dict.fromkeys(sorted(numbers), 0), 0, [], b""
    for number, line in enumerate(lines(bundle, name, manifest["files"][name])):
        if number == 0:
            if line != b"selection\n":
                raise Wrong(f"{name} doesn't begin with its heading.")
            continue
        if line != before:  # alike ones stand together
            marks = marks_of(line, f"{name}, line {number + 1}", check, (numbers, least, most))
        if line < before:
            raise Wrong(f"{name}, line {number + 1}: the ballots are out of order.")
        before, ballots = line, ballots + 1
        for mark in marks:
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
    numbers = [choice["number"] for choice in manifest["choices"]]
    if not numbers or len(set(numbers)) < len(numbers):
        raise Wrong("The manifest names a choice twice, or none.")
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
    # As texts: to Python 1 is the same as true.
    if json.dumps(read["tally.json"], sort_keys=True) != json.dumps(tally, sort_keys=True):
        raise Wrong("The tally is not what the ballots come to.")
    check_type(read["quarantines.json"], QUARANTINES_ARE, "quarantines.json")
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

NOT_LISTED = {
    "withheld": "in quarantine, too few to be listed without telling what each marks",
    "rejected": "rejected for good",
    "waiting": "set aside, not settled",
}


def tell(text=""):
    """Print a line. Whatever of the bundle is in it, it stays this line."""
    sys.stdout.buffer.write(f"{shown(text)}\n".encode("utf-8", "replace"))


def shown(text):
    """Text with whatever could make a terminal show something else spelled out, such as \\x1b.

    Spaces of all sorts stay, and the joiners that some scripts need to be read (ZWNJ, ZWJ).
    """
    return "".join(map(shown_letter, str(text)))


def shown_letter(letter):
    if letter.isprintable() or unicodedata.category(letter) == "Zs" or letter in "\u200c\u200d":
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def short(text):
    """A text of the bundle, no longer than anybody reads."""
    return text if len(text) <= SHOWN_AT_MOST else f"{text[:SHOWN_AT_MOST]}…"


def grouped(key):
    return " ".join(key[i : i + 8] for i in range(0, len(key), 8))


def tell_tally(manifest, tally, quarantines):
    tell(f"Poll {manifest['poll']}, round {manifest['round']}: {short(manifest['question'])}")
    for step in ("closed", "published"):
        if manifest[f"{step}_at"]:
            tell(f"{step.capitalize()}: {manifest[f'{step}_at']}")
    tell()
    for choice in tally["counted"]["choices"]:
        # Ahead of the label, which may say anything.
        won = "won ->" if choice["number"] in tally["counted"]["winners"] else ""
        tell(f"{won:6}{choice['votes']:>12,}  {short(choice['label'])}")
    tell(f"      {tally['counted']['ballots']:>12,}  ballots")
    tell_apart(manifest["counts"], tally["quarantined"]["ballots"], quarantines)
    tell()
    for text in (
        "The manifest is signed, and the files are the ones that were signed.",
        "No receipt is listed twice"
        + ("; there is a ballot for each." if manifest["ballots"] == "whole" else "."),
        "Every ballot keeps to the poll's rules, and the tally is what they come to.",
    ):
        tell(f"ok  {text}")


def tell_apart(counts, ballots, quarantines):
    """What is in the second tally, and what is in no list."""
    if quarantines:
        tell()
        tell(f"Counted apart, in quarantine: {ballots:,} ballots")
        for each in quarantines:
            state = ", released" if each["released_at"] else ""
            words = f"{short(each['reason'] or each['rule'])} ({short(each['decided_by'])}{state})"
            tell(f"      {each['ballots']:>12,}  {words}")
    for status, words in NOT_LISTED.items():
        if counts.get(status):
            tell(f"      {counts[status]:>12,}  accepted ballots {words}: in no list")


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
        if place is None and manifest["counts"].get("withheld"):
            tell("It may be one of the ballots in quarantine that are too few to be listed.")
    fingerprint = hashlib.sha256(bytes.fromhex(manifest["signature"]["public_key"])).hexdigest()
    if key is None:
        tell()
        tell("CONSISTENT, but whose is it? Anybody can sign a bundle. Compare this with the organiser's")
        tell("fingerprint, or run it again with --key:")
        tell(f"  {grouped(fingerprint)}")
    else:
        tell()
        tell(f"GENUINE: signed with the key {grouped(fingerprint)}.")
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
    if options.receipt is not None and not re.fullmatch("[A-Za-z0-9_-]{72}", options.receipt):
        parser.error("a receipt has 72 letters, digits, - and _")
    try:
        with open(options.bundle, "rb") as file:
            return answer(file, key, options.receipt)
    except (OSError, ValueError) as error:
        parser.error(f"the file can't be opened: {shown(error)}")


def answer(file, key, receipt):
    """What it ends with, having said why."""
    try:
        with zipfile.ZipFile(Bounded(file)) as bundle:
            return verify(bundle, key, receipt)
    except Wrong as wrong:
        tell(f"FAILED: {short(str(wrong))}")
    except Exception as error:  # a damaged file can make any library raise anything: it is no proof then
        why = f"{type(error).__name__}: {short(str(error))}"
        tell(f"FAILED: the bundle is damaged or not one of ours ({why}).")
    return 1


if __name__ == "__main__":
    sys.exit(main())
