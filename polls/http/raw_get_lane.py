"""The raw GET lane: answers a GET from the bytes of its request, on a server that passes them on (uvicorn).

The raw GET lane asks other lanes, which know the response to some paths without waiting for anything. If the
bytes aren't exactly one ordinary request, or if no lane responds at once, the server parses them, and the
request takes the usual path.
"""

import re
from collections.abc import Callable, Iterable
from typing import Protocol

from polls.http.lanes import (
    FORWARDED_PROTO,
    Headers,
    Response,
    is_secure,
    keeps_alive,
    proxy_scheme_header,
    request_id_of,
    response_head,
)

#: Sends a response: its head, without the empty line at the end, and its body.
Reply = Callable[[bytes, bytes], None]

#: Stricter than RFC 9112, as in polls/casting/raw_http_lane.py: ASCII paths without a query or an escape.
_REQUEST = re.compile(
    rb"GET (/[A-Za-z0-9/._-]*) HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n"
)
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
        proxy = proxy_scheme_header()
        scheme = proxy[0] if proxy else FORWARDED_PROTO
        names = {b"connection", b"x-request-id", scheme, *_UNUSUAL}.union(
            *(lane.relevant_headers for lane in self._lanes)
        )
        pattern = rb"\r\n(%b):[ \t]*([^\r\n]*)" % b"|".join(map(re.escape, sorted(names)))
        self._find_headers = re.compile(pattern, re.IGNORECASE).findall

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
        headers = [(name.lower(), value.rstrip(b" \t")) for name, value in self._find_headers(data)]
        if not keeps_alive(headers) or any(name in _UNUSUAL for name, _ in headers):
            return False
        secure = is_secure({"headers": headers, "scheme": scheme, "client": peer})
        for lane in self._lanes:
            response = lane.answer(path, headers, secure=secure)
            if response is not None:
                given_id = next((value for name, value in headers if name == b"x-request-id"), None)
                head = response_head(response.status, response.headers)
                reply(b"%bx-request-id: %b\r\n" % (head, request_id_of(given_id)), response.body)
                return True
        return False
