"""Django behind ASGI with one thread hop a request, in place of one for each middleware and view."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler, ASGIRequest

from polls.http.lanes import HOST_LONGEST


class Request(ASGIRequest):
    def get_host(self) -> str:
        """Where any host is allowed (a proxy checks it), still none that is no name: it goes into links and
        QR codes, which have room for so much."""
        host = super().get_host()
        if len(host) > HOST_LONGEST:
            raise DisallowedHost("The host is longer than any name.")
        return host


class OneHopHandler(ASGIHandler):
    """All our HTTP views and Django's own middleware are synchronous at heart.

    Django's handler would run each of them on a thread of its own accord and come back to
    the event loop in between; here the whole chain runs on the request's thread.
    """

    request_class = Request

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)
        chain = self._middleware_chain  # type: ignore[has-type]
        self._middleware_chain = sync_to_async(chain, thread_sensitive=True)
