"""Parts of the OpenAPI description: authentication, strict bodies, headers and errors."""

from collections import defaultdict
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from polls import errors
from polls.voters import identity

from .method_fields import Marks
from .serializers import Problem

PROBLEM = "application/problem+json"
#: Codes that any address under /api/ may answer with.
ALWAYS = ("method_not_allowed", "internal_error", "unavailable")
NEGOTIATED = (*ALWAYS, "not_acceptable")
BODY = ("malformed", "too_large", "unsupported_media_type")
#: Values of `auth` in extend_schema.
ANYBODY: Any = [{}]
KEY_OR_COOKIE: Any = [{"ApiKey": []}, {}]
KEY_ONLY: Any = [{"ApiKey": []}]
KEY = ("invalid_key", "missing_scope")


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "polls.api.permissions.ApiKey"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Api-Key`, a space, and the key. Keys are created in the admin.",
        }


class StrictBody(OpenApiSerializerExtension):
    target_class = "polls.api.serializers.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        if isinstance(self.target, Marks):
            schema |= self.target.schema()
        return schema | {"additionalProperties": False} if direction == "request" else schema


def refusals(*codes: str) -> dict[tuple[int, str], OpenApiResponse]:
    """Return the responses for these error codes, grouped by status."""
    known = errors.errors_by_code()
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[known[code].status].append(f"- `{code}`: {known[code].title}")
    return {
        (status, PROBLEM): OpenApiResponse(Problem, description="\n".join(lines))
        for status, lines in sorted(by_status.items())
    }


def response_header(name: str, statuses: list[int], text: str) -> OpenApiParameter:
    return OpenApiParameter(
        name, OpenApiTypes.STR, OpenApiParameter.HEADER, response=statuses, description=text
    )


RETRY_AFTER = response_header("Retry-After", [503], "Seconds to wait before the next try.")
CODE = OpenApiParameter(
    "code", OpenApiTypes.STR, OpenApiParameter.PATH, description="The poll's code; case doesn't matter."
)
COOKIE = OpenApiParameter(
    identity.COOKIE,
    OpenApiTypes.STR,
    OpenApiParameter.COOKIE,
    description="Who is voting, without an API key.",
)
SET_COOKIE = "The `voter` cookie of a new voter."
