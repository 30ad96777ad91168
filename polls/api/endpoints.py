"""The base of all endpoints: JSON bodies of bounded size, and no caching unless an endpoint sets it."""

from typing import Any

import msgspec
from django.db.models import QuerySet
from django.http.request import UnreadablePostError
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from polls.errors import Malformed, PollNotFound, TooLarge, UnsupportedMediaType
from polls.models import Poll, canonical_code
from polls.text.strict_json import DuplicateMember, refuse_duplicates

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Endpoint(APIView):
    """DRF's APIView with a fixed order of checks: method, Accept, key, scope, then those of the view."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # Checked before authentication, so that a wrong method gets 405 even without a key.
        if request.method not in self.allowed_methods:
            raise exceptions.MethodNotAllowed(str(request.method))
        if request.method == "OPTIONS":
            request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(
                request, force=True
            )
            return
        super().initial(request, *args, **kwargs)
        check_given_once(request)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Respond with the Allow header only. DRF's default response would describe our classes."""
        return Response(status=204)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        done = super().finalize_response(request, response, *args, **kwargs)
        done.headers.setdefault("Cache-Control", "no-store")
        return done

    def checked(self, serializer: Serializer[Any], request: Request) -> dict[str, Any]:
        """Return the body's data, validated with this serializer."""
        serializer.initial_data = json_body(request)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class AnyAccept(BaseContentNegotiation):
    """Ignore the Accept header, because a ballot must not be refused over it."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


def find_poll(code: str, polls: QuerySet[Poll] | None = None) -> Poll:
    """Return the poll with this code, as people type it; raise PollNotFound."""
    poll = (Poll.objects.all() if polls is None else polls).filter(code=canonical_code(code)).first()
    if poll is None:
        raise PollNotFound()
    return poll


def check_given_once(request: Request) -> None:
    """Refuse a query parameter that is given twice; Django would use the last one."""
    twice = [name for name, values in request.query_params.lists() if len(values) > 1]
    if twice:
        raise exceptions.ValidationError({name: [_("This parameter is given twice.")] for name in twice[:10]})


#: Enough for 99 choices of 200 characters, each character written as a JSON escape.
BODY_MAX_BYTES = 256 * 1024


def json_body(request: Request, limit: int = BODY_MAX_BYTES) -> dict[str, Any]:
    """Parse the body as a JSON object. DRF's parser ignores a chunked body and has no size limit."""
    if request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType()
    body = raw_body(request, limit)
    if body is None:
        raise TooLarge(_("At most %(most)s bytes.") % {"most": limit})
    try:
        document = _decode(body)
        refuse_duplicates(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, DuplicateMember) as error:
        raise Malformed(str(error)) from None
    return document


def raw_body(request: Request, limit: int) -> bytes | None:
    """Return the body, or None if it is over the limit. Nothing beyond the limit is read."""
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
            return None
        body = request._request.read(limit + 1)
    except (ValueError, UnreadablePostError):
        return b""
    return body if len(body) <= limit else None
