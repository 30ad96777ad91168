"""The HTTP request of a cast, its JSON body, and the response."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from django.utils.translation import gettext as _

from polls.errors import Malformed, TooLarge, UnsupportedMediaType
from polls.http.origins import check_origin
from polls.methods import METHODS, Method
from polls.text.strict_json import DuplicateMember, refuse_duplicates
from polls.voters import proof_of_work


class CastRequest(msgspec.Struct, frozen=True, gc=False):
    """The parts of an HTTP request that matter for a ballot. `body` is None if it exceeds the limit."""

    code: str
    body: bytes | None
    content_type: str
    host: str
    origin: str | None = None
    secure: bool = False
    cookie: str | None = None
    authorization: str | None = None
    pass_: str | None = None
    address: str = ""
    request_id: bytes = b""  # for logging; empty in Django's view, whose middleware logs it


class CastResponse(msgspec.Struct, frozen=True, gc=False):
    status: int
    body: bytes
    headers: dict[str, str]


class BallotBody(msgspec.Struct):
    """A ballot's JSON document (docs/api.md). `marks` stands for the method's field, such as `selections`."""

    marks: Any
    ballot_id: uuid.UUID | None = None
    round: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    replaces: uuid.UUID | None = None
    voter: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    proof: Annotated[str, msgspec.Meta(max_length=proof_of_work.MAX_LENGTH)] | None = None


class BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    ballots: list[msgspec.Raw]


_decode_batch = msgspec.json.Decoder(BatchBody).decode
_PARSE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError, DuplicateMember)
#: The lanes compare by identity with this object to recognise an accepted ballot.
ACCEPTED_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def check_envelope(request: CastRequest, limit: int) -> None:
    """Check content type, origin and size, in this order."""
    kind = request.content_type
    if kind != "application/json" and kind.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType()
    check_origin(request.origin, request.host, secure=request.secure)
    if request.body is None or len(request.body) > limit:
        raise TooLarge(_("At most %(most)s bytes.") % {"most": limit})


#: Decoders of the methods' ballots, by method.
_decoders: dict[Method, Callable[[bytes], Any]] = {}


def _make_decoder(method: Method) -> Callable[[bytes], Any]:
    """Make a decoder of ballots whose marks have this method's name and type."""
    # A separate struct with all fields: decoding one that is derived from BallotBody takes 1.5 times as long.
    _marks, *others = msgspec.structs.fields(BallotBody)
    body = msgspec.defstruct(
        "BallotBody",
        [("marks", method.Marks), *((field.name, field.type, field.default) for field in others)],
        rename={"marks": method.field},
        forbid_unknown_fields=True,
    )
    _decoders[method] = decode = msgspec.json.Decoder(body).decode
    return decode


def parse_ballot(text: bytes, method: Method) -> BallotBody:
    """Parse a body; raise Malformed if it isn't a ballot of this method or has a duplicate member."""
    try:
        body: BallotBody = (_decoders.get(method) or _make_decoder(method))(text)
        # msgspec silently takes the last of duplicate members. Each member has one colon. A body with more
        # colons than parsed members has a duplicate member, a null, or a colon in a string, so it is parsed
        # again.
        if text.count(b":") != _count_members(body):
            refuse_duplicates(text)
    except _PARSE_ERRORS as error:
        raise Malformed(str(error)) from None
    return body


def parse_any_ballot(text: bytes) -> BallotBody | None:
    """Parse a body as a ballot of any method; return None if it isn't a ballot."""
    for method in METHODS.values():
        with suppress(Malformed):
            return parse_ballot(text, method)
    return None


def round_named(text: bytes) -> int | None:
    """Return the round that a ballot of any method names, if it names one."""
    body = parse_any_ballot(text)
    return body.round if body else None


def _count_members(body: BallotBody) -> int:
    marks = body.marks
    given = 1 + (len(marks) if type(marks) is dict else 0)
    given += (body.ballot_id is not None) + (body.round is not None) + (body.replaces is not None)
    return given + (body.voter is not None) + (body.proof is not None)


def parse_batch(text: bytes) -> list[msgspec.Raw]:
    """Split a batch into its ballots, each still to be parsed; raise Malformed if it isn't a batch."""
    try:
        ballots: list[msgspec.Raw] = _decode_batch(text).ballots
        # As in parse_ballot. Outside the ballots there is one colon: the one after `ballots`.
        if text.count(b":") != 1 + sum(bytes(ballot).count(b":") for ballot in ballots):
            raise DuplicateMember("'ballots' comes twice in one object.")
    except _PARSE_ERRORS as error:
        raise Malformed(str(error)) from None
    return ballots
