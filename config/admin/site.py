"""The admin site: django-unfold's site, with two-factor login."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.admin import autodiscover
from django.core.checks import CheckMessage
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite

from config.security import two_factor_pages as pages
from polls import two_factor

View = Callable[..., HttpResponse]


class LandslideAdminSite(UnfoldAdminSite):
    def check(self, app_configs: Any) -> list[CheckMessage]:
        autodiscover()
        return super().check(app_configs)

    def has_permission(self, request: HttpRequest) -> bool:
        return two_factor.is_verified_request_user(request.user)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send users who have entered their password but no code to the second step."""
        if request.method == "GET" and pages.needs_second_factor(request):
            return HttpResponseRedirect(pages.second_factor_url(request))
        return super().login(request, extra_context)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        suggested = two_factor.device_of(request.user) is None
        return super().index(request, {"suggest_two_factor": suggested, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        autodiscover()
        before_code = (
            ("code/", pages.enter_code, "two_factor_code"),
            ("setup/", pages.set_up, "two_factor_setup"),
        )
        after_code = (
            ("", pages.overview, "two_factor"),
            ("recovery-codes/", pages.renew_codes, "two_factor_codes"),
            ("remove/", pages.remove, "two_factor_remove"),
        )
        views = [
            *((route, pages.password_required(self, page), name) for route, page, name in before_code),
            *((route, self.admin_view(partial(page, self)), name) for route, page, name in after_code),
        ]
        return [
            # Django's own logout is only for users who have entered their code.
            path("logout/", never_cache(self.logout), name="logout"),
            *(path(f"two-factor/{route}", view, name=name) for route, view, name in views),
            *super().get_urls(),
        ]
