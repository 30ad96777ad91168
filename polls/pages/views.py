"""The page to join by code, and the voter's page.

These pages are the same for everybody and set no cookies or tokens, so that a cache can serve a whole hall.
The voter endpoint has everything that depends on the voter. Tallies come over the WebSocket only.
"""

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import conditional_page, require_http_methods, require_safe

from polls.methods import METHODS
from polls.models import Identity, Poll, canonical_code
from polls.pages import script_messages
from polls.pages.forms import JoinForm
from polls.poll_document import poll_document

#: A shared cache may serve a page for 5 s, and longer while it fetches a new one or while the server fails.
#: Serving an old page is safe: the first message on the WebSocket updates the page. `Vary` makes caches store
#: a page per language.
CACHED = {"public": True, "max_age": 5, "stale_while_revalidate": 30, "stale_if_error": 300}


#: Each method's part of the voter's page: the template of a row of the form, and a style sheet or "".
FORM_ROWS = {name: (f"polls/methods/{name}.html", method.stylesheet) for name, method in METHODS.items()}


def poll_page(view: Callable[[HttpRequest, Poll], HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate a view as a cacheable page of one poll.

    An unknown poll isn't cached: somebody may create it.
    """

    @wraps(view)
    def page(request: HttpRequest, code: str) -> HttpResponse:
        canonical = canonical_code(code)
        poll = Poll.objects.filter(code=canonical).prefetch_related("choices").first()
        if poll is None:
            return unknown_poll(request, code)
        if code != canonical:
            match = request.resolver_match
            response: HttpResponse = redirect(match.view_name if match else "polls:vote", canonical)
        else:
            response = view(request, poll)
        patch_cache_control(response, **CACHED)
        return response

    return require_safe(conditional_page(page))


def unknown_poll(request: HttpRequest, code: str) -> HttpResponse:
    form = JoinForm({"code": code})
    form.is_valid()
    page = render(request, "polls/unknown.html", {"form": form}, status=404)
    page.headers["Cache-Control"] = "no-store"
    return page


@csrf_exempt  # it changes nothing
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def join(request: HttpRequest) -> HttpResponse:
    """Show the form, or redirect to the poll's page. People share addresses with ?code=, so GET works too.

    The form uses POST, because people may paste a link with an invite, which must not get into access logs.
    """
    given = request.POST if request.method == "POST" else request.GET
    if request.method != "POST" and "code" not in given:
        return render(request, "polls/join.html", {"form": JoinForm()})
    form = JoinForm(given)
    if form.is_valid():
        return _to_vote(form.cleaned_data["code"].code, form.invite)
    return render(request, "polls/join.html", {"form": form})


@require_safe
@never_cache
def mangled_invite(request: HttpRequest, code: str, invite: str) -> HttpResponse:
    """Redirect a link whose # a mail program has encoded, so that the invite is a fragment again."""
    return _to_vote(canonical_code(code), invite) if canonical_code(code) else unknown_poll(request, code)


def _to_vote(code: str, invite: str) -> HttpResponse:
    return redirect(reverse("polls:vote", args=[code]) + (f"#i={invite}" if invite else ""))


@poll_page
def vote(request: HttpRequest, poll: Poll) -> HttpResponse:
    back = {"next": reverse("polls:vote", args=[poll.code])}
    return render(
        request,
        "polls/vote.html",
        {
            "poll": poll_document(poll),
            "form_row": FORM_ROWS[poll.method][0],
            "form_style": FORM_ROWS[poll.method][1],
            "form_rows": FORM_ROWS,
            "texts": script_messages.catalogue(script_messages.COMMON, script_messages.VOTE),
            "assurance": script_messages.ASSURANCE[Identity(poll.identity)],
            "sign_in": f"{reverse('polls:sign-in')}?{urlencode(back)}",
            "sign_out": f"{reverse('polls:sign-out')}?{urlencode(back)}",
        },
    )
