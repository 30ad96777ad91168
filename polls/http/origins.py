"""Which origins may vote and subscribe: one rule for casts on every lane, WebSockets and event streams.

Django's CSRF check of forms applies the same rule and reads the same two settings.
"""

from django.conf import settings
from django.utils.translation import gettext as _

from polls.errors import ForeignOrigin
from polls.http.lanes import Headers


def origin_of(headers: Headers) -> str | None:
    """Return the Origin header, None if there is none, or "null" (a foreign origin) if there are several."""
    found = [value for name, value in headers if name == b"origin"]
    if not found:
        return None
    return found[0].decode("latin-1") if len(found) == 1 else "null"


def origin_allowed(origin: str | None, host: str, *, secure: bool) -> bool:
    """Whether pages of this origin may vote and subscribe: our own, or one in settings.TRUSTED_ORIGINS.

    Our own origin has the scheme, host and port of the request. A request without an Origin doesn't come from
    a page. "null" (sandboxed and local pages) and an empty Origin are foreign.
    """
    if origin is None or origin in settings.TRUSTED_ORIGINS:
        return True
    return bool(host) and origin.lower() == _own_origin(host, secure=secure)


def check_origin(origin: str | None, host: str, *, secure: bool) -> None:
    """Raise ForeignOrigin unless origin_allowed, with a hint if only the scheme differs."""
    if origin is None or origin_allowed(origin, host, secure=secure):
        return
    if host and origin.lower() == _own_origin(host, secure=not secure):
        raise ForeignOrigin(
            _(
                "The page is at %(page)s, but this request seems to have come to %(own)s. Behind a proxy that"
                " ends TLS, set PROXY_SSL_HEADER."
            )
            % {"page": origin[:300], "own": _own_origin(host, secure=secure)[:300]}
        )
    raise ForeignOrigin()


def _own_origin(host: str, *, secure: bool) -> str:
    return f"{'https' if secure else 'http'}://{host}".lower()
