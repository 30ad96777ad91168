"""Signing in to vote, and out again: for the accounts of polls whose voters have one.

Who has an account is the operator's business: made in the admin, or by any of Django's
authentication backends, single sign-on among them. These pages only ask them.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import logout
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, RedirectURLMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.generic import TemplateView


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": _(
            "There is no account with this name and password. Capital letters matter in both."
        ),
        "inactive": _("This account has been closed."),
    }


class SignIn(LoginView):
    """Django's, in our looks. `next` leads nowhere but to this site."""

    form_class = SignInForm
    template_name = "polls/sign_in.html"
    next_page = "polls:join"


@method_decorator([never_cache, csrf_protect], name="dispatch")
class SignOut(RedirectURLMixin, TemplateView):
    """GET asks, POST does: the voter's page may come from a cache, so it has no token to sign out with."""

    template_name = "polls/sign_out.html"
    next_page = "polls:join"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        logout(request)
        return HttpResponseRedirect(self.get_success_url())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"next": self.get_redirect_url()}
