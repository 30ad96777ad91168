"""The raw HTTP lane: casts a ballot from the bytes of its request, on a server that passes them on (uvicorn).

HTTP parsing, a task and ASGI's messages cost more CPU time than casting the ballot. Most casts arrive in one
piece and look alike. This lane turns them into casts without parsing HTTP. If the bytes aren't exactly one
such request, the server parses them, and the request reaches the ASGI lane.
"""

import re
from functools import partial

from polls.casting.asgi_lane import PATH, AsgiLane, PassToDjango, Peer
from polls.casting.request import ACCEPTED_HEADERS, CastRequest, CastResponse
from polls.http.lanes import (
    HEADER_LINES,
    Reply,
    headers_reader,
    is_secure,
    keeps_alive,
    request_id_of,
    response_head,
)

_HEAD = re.compile(rf"POST {PATH} HTTP/1\.1\r\n".encode() + HEADER_LINES)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?=\r\n)", re.IGNORECASE)
_GIVEN_ID = re.compile(rb"\r\nx-request-id: *([^\r\n]*)\r\n", re.IGNORECASE)
_NEEDS_PARSING = re.compile(
    rb"\r\n(connection: *close|connection:.*upgrade|transfer-encoding|expect)", re.IGNORECASE
)


class RawHttpLane:
    def __init__(self, lane: AsgiLane) -> None:
        self._lane = lane
        self._heads: dict[tuple[bool, int, int, str | None], bytes] = {}
        self._read_headers = headers_reader(lane.relevant_headers)

    def take(self, data: bytes, reply: Reply, peer: Peer = None, scheme: str | None = "http") -> bool:
        """Cast the ballot in `data` and reply, now or later; return False if the request must be parsed.

        Call it on the event loop, and only between two requests. scheme: that of the connection itself,
        whatever a proxy reports.
        """
        head = _HEAD.match(data)
        if head is None:
            return False
        casts = self._lane.casts()
        if casts.backpressure.full:
            return not self._lane.headers_depend_on_https and self._refuse_early(data, head.end(), reply)
        headers = self._read_headers(head[0])
        try:
            secure = is_secure({"headers": headers, "scheme": scheme, "client": peer})
            length, parts = self._lane.read_headers(headers, peer, secure=secure)
        except PassToDjango:
            return False
        if head.end() + length != len(data) or not keeps_alive(headers):
            return False
        request = CastRequest(head[1].decode(), data[head.end() :], *parts)
        casts.cast(request, partial(self._answer, request.request_id, secure, reply))
        return True

    def _refuse_early(self, data: bytes, end: int, reply: Reply) -> bool:
        """Refuse a cast with as little work as possible; return False if the request must be parsed."""
        lengths = _LENGTH.findall(data, 0, end)
        if len(lengths) != 1 or end + int(lengths[0]) != len(data) or _NEEDS_PARSING.search(data, 0, end):
            return False
        given_id = _GIVEN_ID.search(data, 0, end)
        request_id = request_id_of(given_id[1] if given_id else None)
        self._answer(request_id, False, reply, self._lane.overloaded_response())
        return True

    def _answer(self, request_id: bytes, secure: bool, reply: Reply, answer: CastResponse) -> None:
        if answer.headers is ACCEPTED_HEADERS or answer.status == 503:
            kind = (secure, answer.status, len(answer.body), answer.headers.get("Retry-After"))
            head = self._heads.get(kind) or self._heads.setdefault(kind, self._head(answer, secure))
        else:
            head = self._head(answer, secure)
        reply(b"%bx-request-id: %b\r\n" % (head, request_id), answer.body)

    def _head(self, answer: CastResponse, secure: bool) -> bytes:
        return response_head(answer.status, self._lane.headers(answer, secure=secure))
