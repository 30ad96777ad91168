"""Django's ASGI handler, with one change of thread per request instead of one per middleware and view."""

from asgiref.sync import sync_to_async
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.utils.functional import cached_property

from polls.http.cookies import parse_cookies
from polls.http.lanes import MAX_HOST_LENGTH


class Request(ASGIRequest):
    @cached_property
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override]  # as Django has it
        return parse_cookies(self.META.get("HTTP_COOKIE", ""))

    def get_host(self) -> str:
        """Refuse a host that is too long, even if ALLOWED_HOSTS is `*`. Links and QR codes contain it."""
        host = super().get_host()
        if len(host) > MAX_HOST_LENGTH:
            raise DisallowedHost("The host is longer than a host name can be.")
        return host


class OneHopHandler(ASGIHandler):
    """Run the whole middleware chain and the view in one thread.

    Our views and Django's middleware are synchronous. Django's own handler would send each of them to a
    thread and return to the event loop in between (docs/decisions/synchronous-middleware.md).
    """

    request_class = Request

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)
        chain = self._middleware_chain  # type: ignore[has-type]
        self._middleware_chain = sync_to_async(chain, thread_sensitive=True)
