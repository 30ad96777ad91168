"""The admin's two-factor pages: enter a code, set up an app, recovery codes, turn it off."""

from base64 import b32encode
from collections.abc import Callable
from functools import wraps
from typing import Any

import django_otp
import segno
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from config.security.two_factor_forms import CodeForm, PasswordForm
from polls import two_factor
from polls.audit_log import user_actor

Page = Callable[[AdminSite, HttpRequest], HttpResponse]


def password_required(site: AdminSite, page: Page) -> Any:
    """Wrap a page for staff who have entered their password, but perhaps no code yet."""

    @wraps(page)
    def view(request: HttpRequest) -> HttpResponse:
        if not (request.user.is_active and getattr(request.user, "is_staff", False)):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        return page(site, request)

    return never_cache(sensitive_post_parameters("code", "password")(view))


def needs_second_factor(request: HttpRequest) -> bool:
    user = request.user
    return (
        user.is_active and getattr(user, "is_staff", False) and not two_factor.is_verified_request_user(user)
    )


def second_factor_url(request: HttpRequest) -> str:
    """Return the address of the page that asks for the second factor."""
    name = "two_factor_code" if two_factor.device_of(request.user) else "two_factor_setup"
    return f"{reverse(f'admin:{name}')}?{urlencode({REDIRECT_FIELD_NAME: next_url(request)})}"


def next_url(request: HttpRequest) -> str:
    """Return the page that was requested first, if it is on this site; otherwise the admin's index."""
    page = request.POST.get(REDIRECT_FIELD_NAME, request.GET.get(REDIRECT_FIELD_NAME, ""))
    safe = url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure())
    return page if safe else reverse("admin:index")


def log_in(request: HttpRequest, device: Any) -> None:
    # Against session fixation: a session id from before the code was entered is useless afterwards.
    request.session.cycle_key()
    django_otp.login(request, device)


def enter_code(site: AdminSite, request: HttpRequest) -> HttpResponse:
    if two_factor.is_verified_request_user(request.user):
        return redirect(next_url(request))
    if two_factor.device_of(request.user) is None:
        return redirect(second_factor_url(request))
    form = CodeForm(request.POST or None)
    if form.is_valid():
        device = two_factor.verify(request.user, form.cleaned_data["code"])
        if device is not None:
            log_in(request, device)
            warn_if_few_codes(request)
            return redirect(next_url(request))
        form.add_refusal(request.user)
    context = {"form": form, "title": _("Your code"), "next": next_url(request)}
    return render(site, request, "admin/two_factor/code.html", context)


def warn_if_few_codes(request: HttpRequest) -> None:
    left = two_factor.recovery_codes_left(request.user)
    if left < 3:
        text = ngettext(
            "You have %(left)s recovery code left. Make new ones under Two-factor login.",
            "You have %(left)s recovery codes left. Make new ones under Two-factor login.",
            left,
        )
        messages.warning(request, text % {"left": left})


def set_up(site: AdminSite, request: HttpRequest) -> HttpResponse:
    if two_factor.device_of(request.user) is not None:
        return redirect("admin:two_factor")
    session_key = str(request.session.session_key)
    form = CodeForm(request.POST or None)
    if form.is_valid():
        confirmed = two_factor.confirm(request.user, session_key, form.cleaned_data["code"])
        if confirmed is not None:
            device, codes = confirmed
            log_in(request, device)
            return render_codes(site, request, codes, next_url(request))
        form.add_refusal(request.user)
    device = two_factor.devices_to_confirm(request.user, session_key)[0]
    context = {
        "form": form,
        "title": _("Two-factor login"),
        "next": next_url(request),
        "qr": qr(device.config_url),
        "key": spaced_key(device),
        "required": two_factor.required(),
    }
    return render(site, request, "admin/two_factor/setup.html", context)


def qr(address: str) -> SafeString:
    code = segno.make(address, error="m", micro=False)
    svg = code.svg_inline(
        border=4, omitsize=True, dark="#000", light="#fff", svgclass="ls-qr", lineclass=None
    )
    return mark_safe(svg)  # noqa: S308 - only squares; contains no text of the address


def spaced_key(device: Any) -> str:
    """Return the key in groups of four, for typing into an app that can't scan."""
    key = b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(key[n : n + 4] for n in range(0, len(key), 4))


def overview(site: AdminSite, request: HttpRequest) -> HttpResponse:
    device = two_factor.device_of(request.user)
    context = {
        "title": _("Two-factor login"),
        "device": device,
        "codes_left": two_factor.recovery_codes_left(request.user) if device else 0,
        "required": two_factor.required(),
    }
    return render(site, request, "admin/two_factor/overview.html", context)


def renew_codes(site: AdminSite, request: HttpRequest) -> HttpResponse:
    if two_factor.device_of(request.user) is None:
        return redirect("admin:two_factor")
    form = PasswordForm(request)
    if form.is_valid():
        codes = two_factor.new_recovery_codes(request.user)
        return render_codes(site, request, codes, reverse("admin:two_factor"))
    context = {
        "form": form,
        "title": _("New recovery codes"),
        "text": _("Your current codes will stop working."),
        "button": _("Make new codes"),
        "danger": False,
    }
    return render(site, request, "admin/two_factor/password.html", context)


def remove(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Remove the app. This turns two-factor login off or, where it is required, starts a new setup."""
    if two_factor.device_of(request.user) is None:
        return redirect("admin:two_factor")
    form = PasswordForm(request)
    if form.is_valid():
        two_factor.remove(request.user, user_actor(request.user))
        if two_factor.required():
            return redirect("admin:two_factor_setup")
        messages.success(request, _("Two-factor login is off."))
        return redirect("admin:two_factor")
    if two_factor.required():
        title, button = _("Move to another phone"), _("Forget this phone")
        text = _("The app on this phone and your recovery codes will stop working. You set up new ones next.")
    else:
        title, button = _("Turn off two-factor login"), _("Turn it off")
        text = _("After that, your password alone is enough to log in.")
    context = {"form": form, "title": title, "text": text, "button": button, "danger": True}
    return render(site, request, "admin/two_factor/password.html", context)


def render_codes(site: AdminSite, request: HttpRequest, codes: list[str], onward: str) -> HttpResponse:
    """Show the codes in this response only. No session, message or address contains the codes."""
    context = {"title": _("Your recovery codes"), "codes": codes, "onward": onward}
    return render(site, request, "admin/two_factor/recovery_codes.html", context)


def render(site: AdminSite, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    return TemplateResponse(request, template, {**site.each_context(request), **context})
