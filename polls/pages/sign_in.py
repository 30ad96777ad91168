"""Pages to sign in and out, for polls whose voters have accounts.

These pages create no accounts. Operators create them, in the admin or with one of Django's authentication
backends, such as single sign-on.
"""

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
    """Django's login view with our template. `next` must be on this host."""

    form_class = SignInForm
    template_name = "polls/sign_in.html"
    next_page = "polls:join"


@method_decorator([never_cache, csrf_protect], name="dispatch")
class SignOut(RedirectURLMixin, TemplateView):
    """Sign out on POST. GET asks first, for links from the voter's page, which has no CSRF token."""

    template_name = "polls/sign_out.html"
    next_page = "polls:join"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        logout(request)
        return HttpResponseRedirect(self.get_success_url())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"next": self.get_redirect_url()}
