"""The raw GET lane: answers a GET from the bytes of its request, on a server that passes them on (uvicorn).

The raw GET lane asks other lanes, which know the response to some paths without waiting for anything. If the
bytes aren't exactly one ordinary request, or if no lane responds at once, the server parses them, and the
request takes the usual path.
"""

import re
from collections.abc import Iterable
from typing import Protocol

from polls.http.lanes import (
    HEADER_LINES,
    Headers,
    Reply,
    Response,
    headers_reader,
    is_secure,
    keeps_alive,
    request_id_in,
    response_head,
)

#: Only ASCII paths without a query or an escape.
_REQUEST = re.compile(rb"GET (/[A-Za-z0-9/._-]*) HTTP/1\.1\r\n" + HEADER_LINES)
#: The server parses requests with one of these headers: they have a body, or ask for more than a response.
_UNUSUAL = (b"content-length", b"transfer-encoding", b"expect", b"upgrade")


class GetLane(Protocol):
    """Answers some GET requests ahead of Django."""

    #: The only headers that `answer` looks at, in lower case.
    relevant_headers: frozenset[bytes]

    def answer(self, path: str, headers: Headers, *, secure: bool) -> Response | None:
        """Return the response if it is known now, or None to leave the request to others."""


class RawGetLane:
    def __init__(self, lanes: Iterable[GetLane]) -> None:
        self._lanes = tuple(lanes)
        names = {b"x-request-id", *_UNUSUAL}.union(*(lane.relevant_headers for lane in self._lanes))
        self._read_headers = headers_reader(names)

    def take(
        self, data: bytes, reply: Reply, peer: tuple[str, int] | None = None, scheme: str | None = "http"
    ) -> bool:
        """Answer the request in `data` at once; return False if it must be parsed.

        Call it on the event loop, and only between two requests. scheme: that of the connection itself,
        whatever a proxy reports.
        """
        request = _REQUEST.fullmatch(data)
        if request is None:
            return False
        path = request[1].decode()
        headers = self._read_headers(data)
        if not keeps_alive(headers) or any(name in _UNUSUAL for name, _ in headers):
            return False
        secure = is_secure({"headers": headers, "scheme": scheme, "client": peer})
        for lane in self._lanes:
            response = lane.answer(path, headers, secure=secure)
            if response is not None:
                head = response_head(response.status, response.headers)
                reply(b"%bx-request-id: %b\r\n" % (head, request_id_in(headers)), response.body)
                return True
        return False
