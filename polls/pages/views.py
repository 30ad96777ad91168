"""Join by code, and the voter's page.

These pages are the same for everybody: no cookie is read or set and no token is in them,
so that a cache may answer for a whole hall. What depends on the voter comes from the
voter endpoint, what moves comes over the socket, and no tally is ever in a page's source.
"""

from __future__ import annotations

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

from polls.models import Identity, Poll, canonical_code
from polls.pages import script_messages
from polls.pages.forms import JoinForm
from polls.poll_document import poll_document

#: How long a shared cache may answer for us: 5 s, then as long again as it takes to fetch a new one, and
#: through a failure of ours. Safe, for a page that is this old catches up from its first message, and nothing
#: in it depends on who asks; the language is named in Vary.
CACHED = {"public": True, "max_age": 5, "stale_while_revalidate": 30, "stale_if_error": 300}


def poll_page(view: Callable[[HttpRequest, Poll], HttpResponse]) -> Callable[..., HttpResponse]:
    """A cacheable page of one poll, found by its code in whatever form it was typed.

    That there is no such poll is not cached: there may be one a moment later.
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


@csrf_exempt  # it changes nothing, and so needs neither a token nor a cookie
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def join(request: HttpRequest) -> HttpResponse:
    """The form POSTs: what is pasted may be a link with an invite, which belongs into no address and no log.

    GET with ?code= is for addresses that people share.
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
    """An invite link whose # a mail program has encoded: back into the fragment, for the page to read."""
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
            "kind": "radio" if poll.max_selections == 1 else "checkbox",
            "texts": script_messages.catalogue(script_messages.COMMON, script_messages.VOTE),
            "assurance": script_messages.ASSURANCE[Identity(poll.identity)],
            "sign_in": f"{reverse('polls:sign-in')}?{urlencode(back)}",
            "sign_out": f"{reverse('polls:sign-out')}?{urlencode(back)}",
        },
    )
