"""Requests. Nearly all bytes of the requests are made before the load starts."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.load.plan import Plan

Make = Callable[[int], bytes]

BLANKS = ("{cookie}", "{ballot_id}", "{choice}")
BALLOT_ID = "0" * 36
CHOICE = "1"


def source(plan: Plan) -> tuple[Make, Callable[[int], str], int]:
    """Return functions that make request n and its ballot_id, and the number of requests (0: unlimited)."""
    if plan.requests:
        ready = read_requests(Path(plan.requests))[plan.first :]
        return ready.__getitem__, str, _limited(len(ready), plan.count)
    if not plan.voters:
        same = plan.template.encode()
        return lambda _: same, str, plan.count
    cookies = Path(plan.voters).read_bytes().split(b"\n")[plan.first :]
    return *_ballots(plan, cookies), _limited(sum(map(bool, cookies)), plan.count)


def _limited(there: int, wanted: int) -> int:
    return min(there, wanted) if wanted else there


def _ballots(plan: Plan, cookies: list[bytes]) -> tuple[Make, Callable[[int], str]]:
    texts, rest = [], plan.template
    for blank in BLANKS:
        before, found, after = rest.partition(blank)
        texts.append(before.encode() if found else None)
        rest = after if found else rest
    end = rest.encode()
    a, b, c = texts
    prefix = (str(uuid.uuid4())[:24]).encode()  # a version-4 UUID whose last part is the request's number
    choices = [str(1 + number).encode() for number in range(plan.choices)]
    if a is None or c is None:
        raise ValueError("a ballot has a cookie and a choice")
    if b is None:

        def make(number: int) -> bytes:
            return b"".join((a, cookies[number], c, choices[number % len(choices)], end))
    else:

        def make(number: int) -> bytes:
            choice = choices[number % len(choices)]
            return b"".join((a, cookies[number], b, prefix, b"%012x" % number, c, choice, end))

    return make, lambda number: f"{prefix.decode()}{number:012x}"


def post(path: str, body: str, *, cookie: str = "", headers: str = "") -> str:
    """Make a template of a POST with this JSON body. Its placeholders have a fixed length."""
    length = len(body.replace("{ballot_id}", BALLOT_ID).replace("{choice}", CHOICE).encode())
    cookies = f"Cookie: {cookie}\r\n" if cookie else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{cookies}{headers}"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )


def get(path: str, headers: str = "") -> str:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{headers}\r\n"


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        for each in requests:
            file.write(struct.pack(">I", len(each)) + each)


def read_requests(path: Path) -> list[bytes]:
    content, at, found = path.read_bytes(), 0, []
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        found.append(content[at + 4 : at + 4 + length])
        at += 4 + length
    return found
