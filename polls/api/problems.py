"""Every refusal of the REST API as RFC 9457 problem details."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, JsonResponse
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response

from polls import errors

logger = logging.getLogger(__name__)


class MethodNotAllowed(errors.LandslideError):
    code = "method_not_allowed"
    status = 405
    title = _("This address doesn't take this method")


class NotFound(errors.LandslideError):
    code = "not_found"
    status = 404
    title = _("There is nothing at this address")


class NotAcceptable(errors.LandslideError):
    code = "not_acceptable"
    status = 406
    title = _("Answers come as application/json only")


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: our errors as they are, DRF's as the one of ours that says the same."""
    refused = _translated(error)
    if refused is None:
        return None
    status, headers, document = errors.problem(refused)
    content_type = headers.pop("Content-Type")
    return Response(document, status=status, headers=headers, content_type=content_type)


def _translated(error: Exception) -> errors.LandslideError | None:
    match error:
        case errors.LandslideError():
            return error
        case exceptions.ValidationError():
            return errors.Malformed(_("Some fields are not right."), errors=error.detail)
        case exceptions.ParseError():
            return errors.Malformed(str(error.detail))
        case exceptions.UnsupportedMediaType():
            return errors.UnsupportedMediaType()
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.InvalidKey()
        case exceptions.PermissionDenied() | PermissionDenied():
            return errors.MissingScope()
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed(str(error.detail))
        case exceptions.NotAcceptable():
            return NotAcceptable()
        case exceptions.Throttled():
            return errors.RateLimited(retry_after=round(error.wait or 1) or 1)
        case exceptions.NotFound() | Http404():
            return NotFound()
    return None


def problem_response(error: errors.LandslideError) -> JsonResponse:
    """The same for a plain Django view."""
    status, headers, document = errors.problem(error)
    content_type = headers.pop("Content-Type")
    return JsonResponse(document, status=status, headers=headers, content_type=content_type)
