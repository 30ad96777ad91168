"""Django behind ASGI with one thread hop a request, in place of one for each middleware and view."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler


class OneHopHandler(ASGIHandler):
    """All our HTTP views and Django's own middleware are synchronous at heart.

    Django's handler would run each of them on a thread of its own accord and come back to
    the event loop in between; here the whole chain runs on the request's thread.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)
        chain = self._middleware_chain  # type: ignore[has-type]
        self._middleware_chain = sync_to_async(chain, thread_sensitive=True)
