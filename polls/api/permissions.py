"""API keys: authentication and scopes."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from polls.errors import InvalidKey, MissingScope
from polls.models import ApiClient
from polls.voters import identity

#: Every response to a write contains the poll, so `polls:write` includes `polls:read`.
READ_SCOPES = (ApiClient.Scope.POLLS_READ, ApiClient.Scope.POLLS_WRITE)
WRITE_SCOPES = (ApiClient.Scope.POLLS_WRITE,)


class ApiKey(BaseAuthentication):
    """Authenticate by the header `Authorization: Api-Key …`. The client becomes `request.auth`."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiClient] | None:
        client = identity.authenticate_client(request.headers.get("Authorization"))
        return (AnonymousUser(), client) if client else None

    def authenticate_header(self, request: Request) -> str:
        return "Api-Key"


class PollScope(BasePermission):
    """Require the scope for reading or for writing polls, depending on the request's method."""

    safe_methods: Sequence[str] = SAFE_METHODS

    def has_permission(self, request: Request, view: Any) -> bool:
        client = request.auth
        if not isinstance(client, ApiClient):
            raise InvalidKey(_("This needs an API key, sent as `Authorization: Api-Key …`."))
        scopes = READ_SCOPES if request.method in self.safe_methods else WRITE_SCOPES
        if not any(client.allows(scope) for scope in scopes):
            raise MissingScope(_("This needs the scope %(scope)s.") % {"scope": scopes[0].value})
        return True


class PollWriteScope(PollScope):
    """Require the scope for writing, whatever the method."""

    safe_methods = ()
