"""Errors of our code, DRF and Django as RFC 9457 problem details."""

import logging
import sys
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils.translation import gettext as _
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response

from polls import errors
from polls.votelog import STORE_ERRORS

logger = logging.getLogger(__name__)

API = "/api/"


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: translate errors of DRF and Django into ours."""
    refused = _translated(error)
    if refused is None:
        return None  # a bug: Django logs it and calls `server_error`
    status, headers, document = errors.problem_details(refused)
    content_type = headers.pop("Content-Type")
    return Response(document, status=status, headers=headers, content_type=content_type)


def _translated(error: Exception) -> errors.LandslideError | None:
    match error:
        case errors.LandslideError():
            return error
        case exceptions.ValidationError():
            return errors.Malformed(_first(error.detail), errors=error.detail)
        case exceptions.ParseError():
            return errors.Malformed(error.detail)
        case exceptions.UnsupportedMediaType():
            return errors.UnsupportedMediaType()
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.InvalidKey()
        case exceptions.PermissionDenied() | PermissionDenied():
            return errors.MissingScope()
        case exceptions.MethodNotAllowed():
            return errors.MethodNotAllowed(error.detail)
        case exceptions.NotAcceptable():
            return errors.NotAcceptable()
        case exceptions.Throttled():
            return errors.RateLimited(retry_after=round(getattr(error, "wait", None) or 1))
        case exceptions.NotFound() | Http404():
            return errors.NotFound()
        case RequestDataTooBig():
            return errors.TooLarge()
        case DisallowedHost():
            return errors.Malformed(
                _("This server doesn't answer to this host; see its setting ALLOWED_HOSTS.")
            )
        case SuspiciousOperation():
            return errors.Malformed(_("The request is malformed."))
    if isinstance(error, STORE_ERRORS):
        logger.exception("store_unavailable", exc_info=error)
        return errors.Unavailable()
    return None


def _first(detail: Any, path: str = "") -> str:
    """Return the first message of a nested error, with the name of its field."""
    if isinstance(detail, dict):
        name, inner = next(iter(detail.items()))
        return _first(inner, f"{path}.{name}" if path else str(name))
    if isinstance(detail, list):
        return _first(detail[0], path)
    return f"{path}: {detail}" if path else str(detail)


def problem_response(error: errors.LandslideError) -> JsonResponse:
    """Return an error's response, for views outside DRF."""
    status, headers, document = errors.problem_details(error)
    content_type = headers.pop("Content-Type")
    return JsonResponse(document, status=status, headers=headers, content_type=content_type)


@csrf_exempt
def unknown_address(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Answer all other addresses under /api/. Redirect an address that only lacks the trailing slash."""
    if not request.path.endswith("/") and _resolves(f"{request.path}/"):
        target = request.get_full_path(force_append_slash=True)
        return HttpResponsePermanentRedirect(target, preserve_request=True)
    return problem_response(errors.NotFound())


def _resolves(path: str) -> bool:
    try:
        return resolve(path).func is not unknown_address
    except Resolver404:
        return False


# Django's error handlers (config/urls.py), for requests that don't reach DRF. Error pages aren't cached,
# because a cache could still serve a 404 after the address has come to exist.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return problem_response(_translated(exception) or errors.Malformed())
    if isinstance(exception, DisallowedHost):
        return _not_cached(_unknown_host(request))
    return _not_cached(defaults.bad_request(request, exception))


def _unknown_host(request: HttpRequest) -> HttpResponse:
    """Return a page that tells the operator which setting to change."""
    host = request.META.get("HTTP_HOST", "")[:100]
    return render(request, "unknown_host.html", {"host": host}, status=400)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return problem_response(errors.NotFound())
    return _not_cached(defaults.page_not_found(request, exception))


def server_error(request: HttpRequest) -> HttpResponse:
    if request.path.startswith(API):
        return problem_response(errors.InternalError())
    page = _not_cached(defaults.server_error(request))
    if isinstance(sys.exc_info()[1], STORE_ERRORS):
        # 503 tells caches and crawlers that the error is temporary.
        page.status_code = 503
        page.headers["Retry-After"] = str(errors.Unavailable().retry_after)
    return page


def _not_cached(page: HttpResponse) -> HttpResponse:
    page.headers["Cache-Control"] = "no-store"
    return page
