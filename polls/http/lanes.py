"""Helpers for code that answers ahead of Django, exactly as Django would."""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.module_loading import import_string

from polls.http.client_address import is_proxy

Scope = dict[str, Any]
Headers = list[tuple[bytes, bytes]]
#: A function that sends a response. The function takes the head without the final empty line, and the body.
Reply = Callable[[bytes, bytes], None]

#: The header lines of a request and the empty line after them, stricter than RFC 9112: no folded lines, no
#: spaces before a colon, no control characters.
HEADER_LINES = rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n"
SAFE_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{6,80}")  # a request id that can't forge a log line
FORWARDED_PROTO = b"x-forwarded-proto"
#: Middleware that adds headers to the response of an API endpoint.
_ADDS_HEADERS = ("SecurityMiddleware", "LocaleMiddleware", "XFrameOptionsMiddleware")
#: The maximum number of cached hosts, and the maximum length of one: 253 for the name, 6 for ":" and a port.
MAX_HOSTS, MAX_HOST_LENGTH = 100, 260

_hosts: set[bytes] = set()


class Response(NamedTuple):
    """A whole HTTP response, without the headers that differ in every response: X-Request-ID and Date."""

    status: int
    headers: Headers
    body: bytes


def host_allowed(host: bytes) -> bool:
    """Whether Django would accept a request for this host. Accepted hosts are cached."""
    if host in _hosts:
        return True
    if len(host) > MAX_HOST_LENGTH:
        return False
    try:
        django_request(host.decode("latin-1")).get_host()
    except DisallowedHost:
        return False
    if len(_hosts) < MAX_HOSTS:
        _hosts.add(host)
    return True


def request_id_of(given: bytes | None) -> bytes:
    """Return the client's X-Request-ID. If that id is missing or could forge a log line, return a new id."""
    return given if given and SAFE_REQUEST_ID.fullmatch(given) else b"%016x" % random.getrandbits(64)


def request_id_in(headers: Headers) -> bytes:
    """Return `request_id_of` the first X-Request-ID among these headers."""
    return request_id_of(next((value for name, value in headers if name == b"x-request-id"), None))


def headers_reader(names: Iterable[bytes]) -> Callable[[bytes], Headers]:
    """Return a function that finds the headers that a raw lane needs in the bytes of a request's head.

    These are the headers with one of `names`, and those that keeps_alive and is_secure look at.
    """
    proxy = proxy_scheme_header()
    wanted = {*names, b"connection", proxy[0] if proxy else FORWARDED_PROTO}
    pattern = rb"\r\n(%b):[ \t]*([^\r\n]*)" % b"|".join(map(re.escape, sorted(wanted)))
    find = re.compile(pattern, re.IGNORECASE).findall
    return lambda head: [(name.lower(), value.rstrip(b" \t")) for name, value in find(head)]


async def send_response(response: Response, request_id: bytes, send: Any) -> None:
    headers = [*response.headers, (b"x-request-id", request_id)]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def response_head(status: int, headers: Headers) -> bytes:
    """Return the head of an HTTP/1.1 response in bytes, without the empty line at its end."""
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return first + b"".join(b"%b: %b\r\n" % header for header in headers)


def keeps_alive(headers: Headers) -> bool:
    """Whether the connection stays open after the response to an HTTP/1.1 request with these headers."""
    return all(value.lower() == b"keep-alive" for name, value in headers if name == b"connection")


def replay_body(body: bytes, receive: Any) -> Any:
    """Return a `receive` function that returns a body which was already read."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return messages.pop() if messages else await receive()

    return again


def proxy_scheme_header() -> tuple[bytes, str] | None:
    """Return the header of settings.SECURE_PROXY_SSL_HEADER and its value for https, if set."""
    header: tuple[str, str] | None = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    if header is None:
        return None
    name, secure = header
    return name.removeprefix("HTTP_").replace("_", "-").lower().encode(), secure


def is_secure(scope: Scope) -> bool:
    """Whether the client used https, according to a proxy or else to the connection itself.

    If PROXY_SSL_HEADER is set, the proxy's header of this name counts. Otherwise a trusted proxy's
    X-Forwarded-Proto counts. The servers set the scope's scheme from that header, except Daphne for
    WebSockets.
    """
    header = proxy_scheme_header()
    if header is not None:
        wanted, secure = header
        given = next((value for each, value in scope["headers"] if each == wanted), None)
        if given is not None:
            return bool(given.decode("latin-1").partition(",")[0].strip() == secure)
    elif settings.TRUSTED_PROXIES and is_proxy((scope.get("client") or ("",))[0]):
        told = next((value for each, value in reversed(scope["headers"]) if each == FORWARDED_PROTO), None)
        if told in (b"http", b"https"):
            return told == b"https"
    # Django does the same if the proxy's header is missing.
    return bool(scope.get("scheme") in ("https", "wss"))


class _Request(HttpRequest):
    scheme_used = "http"

    @property
    def scheme(self) -> str:
        return self.scheme_used


def django_request(host: str, *, secure: bool = False) -> HttpRequest:
    request = _Request()
    request.method, request.path = "GET", "/api/"
    request.META = {"HTTP_HOST": host, "SERVER_NAME": "", "SERVER_PORT": "80"}
    request.scheme_used = "https" if secure else "http"
    return request


def middleware_headers(allow: str, *, secure: bool) -> Headers:
    """Return the headers that Django and DRF add to a view's response, by running the middleware itself."""

    def chain(_: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"Allow": allow})

    for path in reversed(settings.MIDDLEWARE):
        if path.rpartition(".")[2] in _ADDS_HEADERS:
            chain = import_string(path)(chain)
    with translation.override(None):
        response = chain(django_request("", secure=secure))
    added = {
        name: value for name, value in response.items() if name not in ("Content-Type", "Content-Length")
    }
    return encode_headers(added)


def encode_headers(headers: Mapping[str, str]) -> Headers:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
