#!/usr/bin/env python3
"""Verify an audit bundle of a Landslide poll. Needs Python 3.8 or later, and nothing else.

    python3 verify.py bundle.zip --key FINGERPRINT [--receipt RECEIPT]

This program shares no code with the server. It checks the signature (Ed25519, RFC 8032), checks that the
lists are the signed ones and agree with each other, and counts the ballots again. It is safe to run on a
bundle from anybody: it checks sizes before it unpacks anything, and escapes control characters in its output.

FINGERPRINT is the fingerprint of the organiser's key. Take it from a source that you trust more than the
source of the bundle. Without it the verdict is "consistent", not "genuine": anybody could have signed.

Exit codes: 0 genuine; 1 something is wrong; 2 bad arguments; 3 consistent, but you named no key, so the
signer is unknown; 4 genuine or consistent, but the receipt is not in the bundle.
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
MAX_LINE_BYTES = 1 << 20
#: Limits on what is read before the signature has been checked.
MAX_DIRECTORY_BYTES, MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES = 1 << 20, 1 << 20, 1 << 10
MAX_DOCUMENT_BYTES = 16 << 20
#: The number of values in a JSON document, since a short text may expand to many objects in memory.
MAX_VALUES = 500_000
#: The maximum number of digits in a number of a document, and of characters printed from one text.
MAX_DIGITS, MAX_PRINTED = 15, 2000


class BundleError(Exception):
    """The bundle is not valid. The message is a sentence that says why."""


# --- Ed25519, after RFC 8032, section 6 ---

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add_points(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    g, h = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    m, n, o, q = f - e, h - g, h + g, f + e
    return m * n % P, o * q % P, n * o % P, m * q % P


def multiply(number, point):
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add_points(total, point)
        point, number = add_points(point, point), number >> 1
    return total


def same_point(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def decode_point(octets):
    """Decode a point from 32 octets; None if they encode none."""
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


BASE = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signature_is_valid(key, message, signature):
    """Return whether `signature` (64 octets) of `message` is valid for the public `key` (32 octets)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = decode_point(key), decode_point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    return same_point(multiply(s, BASE), add_points(r, multiply(int.from_bytes(digest, "little") % L, a)))


# --- voting methods ---


class Marks:
    """Ballots that mark choices, one vote each; the choice with the most votes wins.

    A ballot is a line of marks, and `counts` says how often each mark occurs in a list of ballots.
    """

    LINE = re.compile(rb"[1-9][0-9]?( [1-9][0-9]?)*\n")

    def __init__(self, manifest):
        self.choices, rules = manifest["choices"], manifest["rules"]
        self.numbers = [choice["number"] for choice in self.choices]
        self.least, self.most = rules["least"], rules["most"]

    def marks(self):
        """Return all marks that a ballot may have."""
        return [str(number) for number in self.numbers]

    def problem(self, marks, least, most):
        """Return what is wrong with a ballot's marks, or None."""
        found = [int(mark) for mark in marks]
        if found != sorted(set(found)):
            return "marks a choice twice, or not in order"
        if not set(found) <= set(self.numbers):
            return "marks a choice that the poll doesn't have"
        return None if least <= len(found) <= most else "has too few or too many marks"

    def most_votes(self, counts):
        """Return the highest number of ballots that mark the same choice."""
        return max(counts.values())

    def figures(self, counts):
        return {
            "selections": sum(counts.values()),
            "choices": [{**choice, "votes": counts[str(choice["number"])]} for choice in self.choices],
        }

    def winners(self, counts):
        most = max(counts.values())
        return [number for number in sorted(self.numbers) if counts[str(number)] == most] if most else []

    def lines(self, counted):
        """Return the result as lines to print."""
        lines = []
        for choice in counted["choices"]:
            # Print "won" before the label, since a label may contain any text.
            won = "won ->" if choice["number"] in counted["winners"] else ""
            lines.append(f"{won:6}{choice['votes']:>12,}  {shorten(choice['label'])}")
        return lines


class Single(Marks):
    def __init__(self, manifest):
        super().__init__(manifest)
        self.least = self.most = 1


class Rating(Marks):
    """Ballots that rate items, each mark an item's number and a value: 3:5. Nothing wins."""

    LINE = re.compile(rb"[1-9][0-9]?:(0|[1-9]0?)( [1-9][0-9]?:(0|[1-9]0?))*\n")

    def __init__(self, manifest):
        super().__init__(manifest)
        config = manifest["rules"].get("config")
        check_shape(config, {"style": TEXT, "scale": whole_number(2, 10)}, "manifest.json, rules, config")
        self.nps = config["style"] == "nps"
        if self.nps and config["scale"] != 10:
            raise BundleError("A net promoter score has the scale 10.")
        self.values = range(0 if self.nps else 1, config["scale"] + 1)

    def marks(self):
        return [f"{number}:{value}" for number in self.numbers for value in self.values]

    def problem(self, marks, least, most):
        found = [mark.partition(":")[::2] for mark in marks]
        if not all(int(value) in self.values for _, value in found):
            return "has a rating that is not on the scale"
        return super().problem([number for number, _ in found], least, most)

    def most_votes(self, counts):
        return max(sum(self.distribution(number, counts)) for number in self.numbers)

    def distribution(self, number, counts):
        return [counts[f"{number}:{value}"] for value in self.values]

    def figures(self, counts):
        choices = []
        for choice in self.choices:
            found = self.distribution(choice["number"], counts)
            choices.append({**choice, "answers": sum(found), "distribution": found})
        return {"answers": sum(counts.values()), "choices": choices}

    def winners(self, counts):
        return []

    def lines(self, counted):
        lines = []
        for choice in counted["choices"]:
            answers, found = choice["answers"], choice["distribution"]
            lines.append(f"{self.figure(answers, found):>6}{answers:>12,}  {shorten(choice['label'])}")
            values = (f"{value}: {found[place]:,}" for place, value in enumerate(self.values))
            lines.append(" " * 20 + "  ".join(values))
        return lines

    def figure(self, answers, found):
        """Return the net promoter score or the mean. A half is rounded away from zero."""
        if not answers:
            return "-"
        if self.nps:
            lead = sum(found[9:]) - sum(found[:7])
            size = (200 * abs(lead) + answers) // (2 * answers)
            return f"{size if lead >= 0 else -size:+d}"
        total = sum(value * found[place] for place, value in enumerate(self.values))
        tenths = (20 * total + answers) // (2 * answers)
        return f"{tenths // 10}.{tenths % 10}"


#: The methods by name. Each checks the ballots of a bundle and computes their figures.
METHODS = {
    "single": Single,
    "multiple": Marks,
    "rating": Rating,
}


# --- reading the files ---


class BoundedReader:
    """A file whose `read` returns a bounded number of bytes, whatever the zip directory claims."""

    def __init__(self, file):
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close
        self._file = file

    def read(self, size=-1):
        if size is None or size < 0:
            size = MAX_DIRECTORY_BYTES + 1
        read = self._file.read(min(size, MAX_DIRECTORY_BYTES + 1))
        if len(read) > MAX_DIRECTORY_BYTES:
            raise BundleError("The bundle's directory is too large.")
        return read


def parse_json(text, what):
    """Parse JSON strictly: no duplicate fields, no floats, no long numbers, not too many values."""

    def unique_fields(pairs):
        if len({name for name, _ in pairs}) < len(pairs):
            raise BundleError(f"{what} names a field twice.")
        return dict(pairs)

    def parse_int(digits):
        return int(digits) if len(digits) <= MAX_DIGITS else refuse_number(digits)

    def refuse_number(number):
        raise BundleError(f"{what} holds the number {number[:MAX_DIGITS]}, which is too long or not whole.")

    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise BundleError(f"{what} holds too many values.")
    try:
        return json.loads(
            text.decode("utf-8"),
            object_pairs_hook=unique_fields,
            parse_int=parse_int,
            parse_float=refuse_number,
            parse_constant=refuse_number,
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{what} can't be read: {error}") from None


def read_file(bundle, name, most):
    if bundle.getinfo(name).file_size > most:
        raise BundleError(f"{name} is too large.")
    with bundle.open(name) as file:
        return file.read(most)


def read_lines(bundle, name, facts):
    """Yield the lines of a file; at its end, compare it with its entry in the manifest."""
    digest, size, count = hashlib.sha256(), 0, 0
    with bundle.open(name) as file:
        while True:
            line = file.readline(MAX_LINE_BYTES)
            if not line:
                break
            digest.update(line)
            size, count = size + len(line), count + 1
            if not line.endswith(b"\n"):
                raise BundleError(f"{name}, line {count}: it is too long, or its end is missing.")
            yield line
    found = {"sha256": digest.hexdigest(), "bytes": size, "lines": count}
    if found != facts:
        raise BundleError(f"{name} is not the file that was signed.")


def check_directory(bundle):
    """Check the names and compression of the files before any is opened."""
    names = bundle.namelist()
    expected = {MANIFEST, SIGNATURE, *LISTS, *DOCUMENTS}
    if len(set(names)) < len(names):
        raise BundleError("The bundle holds a file twice.")
    if set(names) != expected:
        odd = ", ".join(sorted(set(names) ^ expected))
        raise BundleError(f"Files are missing from the bundle, or don't belong in it: {odd}.")
    for info in bundle.infolist():
        # Other compression methods unpack a piece of any size at once.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise BundleError(f"{info.filename} is encrypted or compressed in a way that bundles don't use.")


def read_manifest(bundle, key):
    """Return the manifest, after checking its signature, and the names and sizes of all files."""
    check_directory(bundle)
    raw = read_file(bundle, MANIFEST, MAX_MANIFEST_BYTES)
    signature = read_file(bundle, SIGNATURE, MAX_SIGNATURE_BYTES)
    manifest = parse_json(raw, MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"The bundle is not of the format {FORMAT}; is there a newer verifier?")
    check_shape(manifest, MANIFEST_SHAPE, MANIFEST)
    public = bytes.fromhex(manifest["signature"]["public_key"])
    fingerprint = hashlib.sha256(public).hexdigest()
    if manifest["signature"]["scheme"] != "Ed25519":
        raise BundleError("The signature is of a scheme that this verifier doesn't know.")
    try:
        octets = base64.b64decode(signature.rstrip(b"\n"), validate=True)
    except ValueError:
        raise BundleError("The signature can't be read.") from None
    if base64.b64encode(octets) + b"\n" != signature or not signature_is_valid(public, raw, octets):
        raise BundleError(
            "The signature is wrong: the manifest has been changed, or was signed by somebody else."
        )
    if key is not None and fingerprint != key:
        raise BundleError("The bundle isn't signed with the organiser's key.")
    if manifest["signature"]["fingerprint"] != fingerprint:
        raise BundleError("The manifest's fingerprint is not the fingerprint of its key.")
    if set(manifest["files"]) != {*LISTS, *DOCUMENTS}:
        raise BundleError("The manifest doesn't list the files of the bundle.")
    for name, facts in manifest["files"].items():
        most = MAX_DOCUMENT_BYTES if name in DOCUMENTS else facts["bytes"]
        if bundle.getinfo(name).file_size != facts["bytes"] or facts["bytes"] > most:
            raise BundleError(f"{name} is not of the size that was signed, or too large.")
    return manifest


# --- the shapes of documents ---


def whole_number(least, most):
    return lambda value: type(value) is int and least <= value <= most


def text_matching(pattern):
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def optional(check):
    return lambda value: value is None or check(value)


TEXT, TIME, COUNT = text_matching(r"(?s).*"), text_matching(r"[0-9T:.+Z-]{10,40}"), whole_number(0, 10**12)
FILE_SHAPE = {"sha256": text_matching("[0-9a-f]{64}"), "bytes": COUNT, "lines": COUNT}
MANIFEST_SHAPE = {
    "poll": text_matching("[A-Z0-9]{1,20}"),
    "round": whole_number(1, 10**6),
    "question": TEXT,
    "method": TEXT,
    "ballots": TEXT,
    "rules": {"least": whole_number(0, 99), "most": whole_number(1, 99)},
    "choices": [{"number": whole_number(1, 99), "label": TEXT}],
    "closed_at": optional(TIME),
    "published_at": optional(TIME),
    # Earlier versions wrote no "withheld".
    "counts": {
        "counted": COUNT,
        "quarantined": COUNT,
        "waiting": COUNT,
        "rejected": COUNT,
        "withheld?": COUNT,
    },
    "files": dict.fromkeys(LISTS + DOCUMENTS, FILE_SHAPE),
    "signature": {
        "scheme": TEXT,
        "public_key": text_matching("[0-9a-f]{64}"),
        "fingerprint": text_matching("[0-9a-f]{64}"),
    },
}
QUARANTINES_SHAPE = [
    {"rule": TEXT, "reason": TEXT, "decided_by": TEXT, "released_at": optional(TIME), "ballots": COUNT},
]


def check_shape(value, shape, where):
    """Raise BundleError unless the value has this shape.

    A field that the shape names with a "?" may be missing. Fields that it doesn't name are ignored.
    """
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise BundleError(f"{where} has no fields.")
        for name, part in shape.items():
            known = name.rstrip("?")
            if known in value:
                check_shape(value[known], part, f"{where}, {known}")
            elif known == name:
                raise BundleError(f"{where} lacks {name}.")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise BundleError(f"{where} is not a list.")
        for number, each in enumerate(value, 1):
            check_shape(each, shape[0], f"{where}, {number}")
    elif not shape(value):
        raise BundleError(f"{where} has an invalid value.")


def read_receipts(bundle, name, manifest):
    """Yield the receipts of a list, which must be sorted and unique."""
    before = b""
    for number, line in enumerate(read_lines(bundle, name, manifest["files"][name]), 1):
        if not RECEIPT.fullmatch(line):
            raise BundleError(f"{name}, line {number}: this is not a receipt.")
        if line <= before:
            raise BundleError(f"{name}, line {number}: the receipt is there twice, or out of order.")
        before = line
        yield line


def count_common(some, others):
    """Count the lines that two sorted lists have in common. Reads both to their ends."""
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


def count_ballots(bundle, name, manifest, method):
    """Count a list of ballots; return (number of ballots, how often each mark occurs)."""
    least, most = method.least, method.most
    if manifest["ballots"] == "marks":
        least = most = 1  # stepped results: one mark a line, to hide which choices were marked together
    counts, ballots, marks, before = dict.fromkeys(method.marks(), 0), 0, [], b""
    for number, line in enumerate(read_lines(bundle, name, manifest["files"][name])):
        if number == 0:
            if line != b"selection\n":
                raise BundleError(f"{name} doesn't begin with its heading.")
            continue
        if line != before:  # equal ballots follow each other
            marks = parse_marks(line, f"{name}, line {number + 1}", method, least, most)
        if line < before:
            raise BundleError(f"{name}, line {number + 1}: the ballots are out of order.")
        before, ballots = line, ballots + 1
        for mark in marks:
            counts[mark] += 1
    return ballots, counts


def parse_marks(line, where, method, least, most):
    if not method.LINE.fullmatch(line):
        raise BundleError(f"{where}: this is not a ballot.")
    marks = line.decode().split()
    wrong = method.problem(marks, least, most)
    if wrong:
        raise BundleError(f"{where}: the ballot {wrong}.")
    return marks


def method_of(manifest):
    numbers = [choice["number"] for choice in manifest["choices"]]
    if not numbers or len(set(numbers)) < len(numbers):
        raise BundleError("The manifest names a choice twice, or none.")
    if manifest["method"] not in METHODS or manifest["ballots"] not in ("whole", "marks"):
        raise BundleError(
            "The ballots are of a method that this verifier doesn't know; is there a newer one?"
        )
    return METHODS[manifest["method"]](manifest)


def check_counts(bundle, manifest, method):
    """Count both lists of ballots; return the tally that they add up to."""
    tally = {}
    for part, count in (("", "counted"), ("quarantined-", "quarantined")):
        listed = manifest["files"][f"{part}receipts.txt"]["lines"]
        ballots, counts = count_ballots(bundle, f"{part}ballots.csv", manifest, method)
        if manifest["ballots"] == "whole" and ballots != listed:
            raise BundleError(f"There are {listed} receipts in {part}receipts.txt, but {ballots} ballots.")
        if manifest["counts"][count] != listed:
            said = manifest["counts"][count]
            raise BundleError(f"The manifest says {said} ballots, but {listed} are listed.")
        check_totals(method, listed, counts, part)
        tally[count] = {"ballots": listed, **method.figures(counts)}
        if not part:
            tally[count]["winners"] = method.winners(counts)
    return tally


def check_totals(method, ballots, counts, part):
    possible = method.least * ballots <= sum(counts.values()) <= method.most * ballots
    if not possible or method.most_votes(counts) > ballots:
        raise BundleError(f"{part}ballots.csv has too many or too few marks for {ballots} ballots.")


def check_documents(bundle, manifest, tally):
    read = {}
    for name in DOCUMENTS:
        text = b"".join(read_lines(bundle, name, manifest["files"][name]))
        if name.endswith(".json"):
            read[name] = parse_json(text, name)
    # Compare as text: in Python, 1 equals True.
    if json.dumps(read["tally.json"], sort_keys=True) != json.dumps(tally, sort_keys=True):
        raise BundleError("The tally is not the sum of the ballots.")
    check_shape(read["quarantines.json"], QUARANTINES_SHAPE, "quarantines.json")
    quarantined = sum(quarantine["ballots"] for quarantine in read["quarantines.json"])
    if quarantined != manifest["counts"]["quarantined"]:
        raise BundleError("The quarantine decisions don't account for the quarantined ballots.")
    return read["quarantines.json"]


def find_receipt(bundle, receipt):
    """Return the name of the list that contains the receipt, or None."""
    wanted = receipt.encode() + b"\n"
    for name in ("receipts.txt", "quarantined-receipts.txt"):
        with bundle.open(name) as file:
            if any(line == wanted for line in file):
                return name
    return None


# --- printing ---

NOT_LISTED = {
    "withheld": "in quarantine, too few to be listed without revealing their marks",
    "rejected": "rejected for good",
    "waiting": "waiting for a decision",
}


def say(text=""):
    """Print one line, with control characters escaped: text of the bundle can't add lines."""
    sys.stdout.buffer.write(f"{printable(text)}\n".encode("utf-8", "replace"))


def printable(text):
    """Escape characters that control a terminal, such as \\x1b.

    Spaces stay, and so do the joiners that some scripts need (ZWNJ, ZWJ).
    """
    return "".join(map(printable_letter, str(text)))


def printable_letter(letter):
    if letter.isprintable() or unicodedata.category(letter) == "Zs" or letter in "\u200c\u200d":
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def shorten(text):
    """Truncate a text of the bundle to a readable length."""
    return text if len(text) <= MAX_PRINTED else f"{text[:MAX_PRINTED]}…"


def format_fingerprint(key):
    return " ".join(key[i : i + 8] for i in range(0, len(key), 8))


def print_tally(manifest, method, tally, quarantines):
    say(f"Poll {manifest['poll']}, round {manifest['round']}: {shorten(manifest['question'])}")
    for step in ("closed", "published"):
        if manifest[f"{step}_at"]:
            say(f"{step.capitalize()}: {manifest[f'{step}_at']}")
    say()
    for line in method.lines(tally["counted"]):
        say(line)
    say(f"      {tally['counted']['ballots']:>12,}  ballots")
    print_quarantined(manifest["counts"], tally["quarantined"]["ballots"], quarantines)
    say()
    for text in (
        "The manifest is signed, and the files are the ones that were signed.",
        "No receipt is listed twice"
        + ("; there is a ballot for each." if manifest["ballots"] == "whole" else "."),
        "Every ballot keeps to the poll's rules, and the tally is their sum.",
    ):
        say(f"ok  {text}")


def print_quarantined(counts, ballots, quarantines):
    """Print the second tally, and how many accepted ballots are in no list."""
    if quarantines:
        say()
        say(f"Counted separately, in quarantine: {ballots:,} ballots")
        for each in quarantines:
            state = ", released" if each["released_at"] else ""
            words = f"{shorten(each['reason'] or each['rule'])} ({shorten(each['decided_by'])}{state})"
            say(f"      {each['ballots']:>12,}  {words}")
    for status, words in NOT_LISTED.items():
        if counts.get(status):
            say(f"      {counts[status]:>12,}  accepted ballots {words}: in no list")


def verify(bundle, key, receipt):
    """Check everything, print the findings, and return the exit code; BundleError if anything is wrong."""
    manifest = read_manifest(bundle, key)
    first, second = (read_receipts(bundle, name, manifest) for name in LISTS[::2])
    if count_common(first, second):
        raise BundleError("A receipt is listed both as counted and as quarantined.")
    method = method_of(manifest)
    tally = check_counts(bundle, manifest, method)
    print_tally(manifest, method, tally, check_documents(bundle, manifest, tally))
    place = find_receipt(bundle, receipt) if receipt else None
    if receipt:
        words = {
            "receipts.txt": "ok  Your receipt is listed: your ballot is counted.",
            "quarantined-receipts.txt": "ok  Your receipt is listed: your ballot is in quarantine.",
            None: "NOT FOUND: your receipt is in neither list.",
        }
        say(words[place])
        if place is None and manifest["counts"].get("withheld"):
            say("It may belong to one of the quarantined ballots that are too few to be listed.")
    fingerprint = hashlib.sha256(bytes.fromhex(manifest["signature"]["public_key"])).hexdigest()
    if key is None:
        say()
        say("CONSISTENT, but whose is it? Anybody can sign a bundle. Compare this with the organiser's")
        say("fingerprint, or run it again with --key:")
        say(f"  {format_fingerprint(fingerprint)}")
    else:
        say()
        say(f"GENUINE: signed with the key {format_fingerprint(fingerprint)}.")
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
            return run(file, key, options.receipt)
    except (OSError, ValueError) as error:
        parser.error(f"the file can't be opened: {printable(error)}")


def run(file, key, receipt):
    """Verify the bundle, print the verdict, and return the exit code."""
    try:
        with zipfile.ZipFile(BoundedReader(file)) as bundle:
            return verify(bundle, key, receipt)
    except BundleError as wrong:
        say(f"FAILED: {shorten(str(wrong))}")
    except Exception as error:  # zipfile and zlib may raise anything for a damaged file
        why = f"{type(error).__name__}: {shorten(str(error))}"
        say(f"FAILED: the bundle is damaged or not one of ours ({why}).")
    return 1


if __name__ == "__main__":
    sys.exit(main())
