"""The admin of polls: edit drafts, open and close polls, watch them live."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, re_path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesCheckboxFilter
from unfold.decorators import display

from polls import drafts, lifecycle, rounds
from polls.admin import config_fields, fieldsets, proof_of_work, transitions
from polls.audit_log import user_actor
from polls.errors import CodeTaken, LandslideError
from polls.models import Identity, Poll, State
from polls.pages import script_messages
from polls.text.plain_text import folded

from .invites import InvitePages
from .poll_form import FIELDS, PollForm

#: Fields that the form can change once a poll has been opened. Proof of work has its own buttons.
ALWAYS_EDITABLE = tuple(name for name in drafts.ALWAYS_EDITABLE if name != "proof_of_work")
#: Names of the buttons beside the form. These buttons submit the form too, so that no input is lost.
BUTTON = "_step"
PROOF_BUTTON = "_proof"
COLOURS = {
    State.DRAFT: "default",
    State.OPEN: "success",
    State.CLOSING: "warning",
    State.CLOSED: "info",
    State.PUBLISHED: "primary",
}


@admin.register(Poll)
class PollAdmin(InvitePages):
    form = PollForm
    list_display = ("code", "question", "state_tag", "round", "opens_at", "closes_at", "pages")
    list_display_links = ("code", "question")
    list_filter = (("state", ChoicesCheckboxFilter),)
    list_filter_submit = True
    list_per_page = 50
    search_fields = ("search_text__contains",)
    search_help_text = gettext_lazy("Code or question")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Poll], search_term: str
    ) -> tuple[QuerySet[Poll], bool]:
        found: tuple[QuerySet[Poll], bool] = super().get_search_results(
            request, queryset, folded(search_term)
        )
        return found

    @display(
        description=gettext_lazy("state"), ordering="state", label={s.value: c for s, c in COLOURS.items()}
    )
    def state_tag(self, poll: Poll) -> tuple[str, str]:
        return poll.state, poll.get_state_display()

    @display(description=gettext_lazy("pages"))
    def pages(self, poll: Poll) -> SafeString:
        links = ((link["url"], link["short"]) for link in _links(poll))
        return format_html(
            '<span class="ls-links">{}</span>',
            format_html_join(" ", '<a href="{}" target="_blank" rel="noopener">{}</a>', links),
        )

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # There is no bulk delete, because a poll that ran is evidence.
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    # --- the form ---

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Poll | None:
        """Lock the poll while it is saved, so that it can't be opened between check and write."""
        poll: Poll | None = super().get_object(request, object_id, from_field)
        if poll and request.method == "POST" and connection.in_atomic_block:
            return Poll.objects.select_for_update().filter(pk=poll.pk).first()
        return poll

    def is_frozen(self, request: HttpRequest, poll: Poll | None) -> bool:
        return poll is not None and (
            poll.state != State.DRAFT or not self.has_change_permission(request, poll)
        )

    def get_fieldsets(self, request: HttpRequest, obj: Poll | None = None) -> Any:
        poll = obj or Poll()
        return fieldsets.frozen(poll) if self.is_frozen(request, obj) else fieldsets.draft(poll)

    def get_form(
        self, request: HttpRequest, obj: Poll | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if self.is_frozen(request, obj):
            # Read-only fields need no explanation.
            kwargs["help_texts"] = {name: "" for name in FIELDS if name not in ALWAYS_EDITABLE}
        form = super().get_form(request, obj, change, **kwargs)
        form.refusal = getattr(request, "refusal", None)
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Poll | None = None) -> list[str]:
        if not self.is_frozen(request, obj):
            return []
        # `labels` is read-only too, so that the form doesn't contain it. The page doesn't show `labels`.
        of_methods = config_fields.make_fields()
        shown = ("choice_list", "method_config", "labels")
        return [*(name for name in FIELDS if name not in ALWAYS_EDITABLE), *of_methods, *shown]

    def get_fields(self, request: HttpRequest, obj: Poll | None = None) -> list[str]:
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    @display(description=gettext_lazy("choices"))
    def choice_list(self, poll: Poll) -> SafeString:
        rows = ((choice.number, choice.label) for choice in poll.choices.all())
        return format_html(
            '<ol class="ls-choices">{}</ol>', format_html_join("", '<li value="{}"><bdi>{}</bdi></li>', rows)
        )

    @display(description=gettext_lazy("method's settings"))
    def method_config(self, poll: Poll) -> SafeString:
        return format_html_join(mark_safe("<br>"), "{}: <bdi>{}</bdi>", config_fields.described(poll))

    def save_model(self, request: HttpRequest, obj: Poll, form: PollForm, change: bool) -> None:
        by = user_actor(request.user)
        if "labels" not in form.fields:
            changed = {name: form.cleaned_data[name] for name in ALWAYS_EDITABLE if name in form.changed_data}
            if changed:
                drafts.change_poll(obj.pk, by=by, **changed)
                self._report_saved(request)
            if "labels" in request.POST:
                text = _(
                    "The poll was opened while you were editing it, so its question, choices and rules can't"
                    " be changed any more. Only your changes to results and protection were saved."
                )
                self.message_user(request, text, messages.WARNING)
        elif not change:
            super().save_model(request, obj, form, change)
            drafts.change_poll(obj.pk, by=by, action="poll created", **form.draft_fields())
        elif form.has_changed():
            drafts.change_poll(obj.pk, by=by, **form.draft_fields())
            self._report_saved(request)

    def _report_saved(self, request: HttpRequest) -> None:
        """Show a message if a button for a step or for proofs saved the form. (Django does so for Save.)"""
        if BUTTON in request.POST or PROOF_BUTTON in request.POST:
            self.message_user(request, _("Your changes are saved."), messages.SUCCESS)

    def log_change(self, request: HttpRequest, obj: Poll, message: Any) -> Any:
        """Log only actual changes. (Lifecycle buttons save the form even if nothing has changed.)"""
        return super().log_change(request, obj, message) if message else None

    def response_post_save_add(self, request: HttpRequest, obj: Poll) -> HttpResponse:
        """Go to the poll's page, which has its links and the button to open it."""
        if self.has_view_or_change_permission(request, obj):
            return HttpResponseRedirect(_address(obj))
        return super().response_post_save_add(request, obj)

    response_post_save_change = response_post_save_add

    def response_change(self, request: HttpRequest, obj: Poll) -> HttpResponse:
        """After saving by a lifecycle button, go to the page that confirms the step."""
        if (step := request.POST.get(BUTTON)) in lifecycle.STEPS:
            return HttpResponseRedirect(reverse("admin:polls_poll_step", args=[obj.pk, step]))
        if PROOF_BUTTON in request.POST:
            if said := proof_of_work.choose(request, obj):
                self.message_user(request, said, messages.SUCCESS)
            return HttpResponseRedirect(_address(obj))
        return super().response_change(request, obj)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        poll = super().get_object(request, object_id) if object_id else None
        extra_context = {**(extra_context or {}), "show_save_and_continue": False}
        if poll:
            extra_context |= self.panel(request, poll) | {
                "earlier_rounds": rounds.with_results(rounds.earlier(poll))
            }
            extra_context["linked"] = rounds.can_be_purged(poll)
            extra_context["show_save_and_add_another"] = False
            extra_context["held_step"] = transitions.BUTTONS.get(request.POST.get(BUTTON, ""))
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except LandslideError as error:
            refusal: LandslideError = error
        except IntegrityError:
            # Another poll got this code between the check and the write.
            refusal = CodeTaken(errors={"code": [CodeTaken.title]})
        # Show the form again as it was filled in, with the refusal among its errors.
        request.refusal = refusal  # type: ignore[attr-defined]
        return super().changeform_view(request, object_id, form_url, extra_context)

    # --- deleting ---

    def has_delete_permission(self, request: HttpRequest, obj: Poll | None = None) -> bool:
        may: bool = super().has_delete_permission(request, obj)
        return may and (obj is None or (obj.state == State.DRAFT and obj.round == 1))

    def delete_model(self, request: HttpRequest, obj: Poll) -> None:
        drafts.delete_poll(obj.pk, user_actor(request.user))

    def get_urls(self) -> list[Any]:
        names = "|".join(lifecycle.STEPS)
        view = self.admin_site.admin_view
        return [
            path("<int:poll_id>/panel/", view(self.panel_view), name="polls_poll_panel"),
            re_path(rf"^(?P<poll_id>\d+)/(?P<step>{names})/$", view(self.step_view), name="polls_poll_step"),
            *super().get_urls(),
        ]

    def panel(self, request: HttpRequest, poll: Poll) -> dict[str, Any]:
        """Return the context of the panel above the form, which changes while the poll runs."""
        may = self.has_change_permission(request, poll)
        allowed = [transitions.BUTTONS[name] for name in lifecycle.next_steps(poll)] if may else []
        return {
            "poll": poll,
            "colour": COLOURS[State(poll.state)],
            "track": transitions.track(poll),
            "forward_steps": [step for step in allowed if not step.danger],
            "danger_steps": [step for step in allowed if step.danger],
            "obstacle": transitions.obstacle(poll),
            "proof": proof_of_work.switch(poll) if may else None,
            "links": _links(poll),
            "texts": script_messages.catalogue(script_messages.COMMON),
            "by_invitation": poll.identity == Identity.INVITE,
        }

    def panel_view(self, request: HttpRequest, poll_id: int) -> HttpResponse:
        """Render the panel alone. The page fetches it when the poll's state changes."""
        poll = self.get_object(request, str(poll_id))
        if poll is None or not self.has_view_permission(request, poll):
            raise Http404
        context = {**self.panel(request, poll), "opts": self.opts}
        return TemplateResponse(request, "admin/polls/poll/panel.html", context)

    def step_view(self, request: HttpRequest, poll_id: str, step: str) -> HttpResponse:
        """GET asks for confirmation, POST takes the step."""
        poll = self.get_object(request, poll_id)
        if poll is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, poll_id)
        if not self.has_change_permission(request, poll):
            raise PermissionDenied
        back = HttpResponseRedirect(_address(poll))
        if request.method == "POST":
            self._take(request, poll, step)
            return back
        if step not in lifecycle.next_steps(poll):
            self.message_user(request, _not_now(poll), messages.ERROR)
            return back
        return self.confirmation(
            request,
            title=transitions.title(step, poll),
            subject=str(poll),
            lines=transitions.consequences(step, poll),
            button=transitions.BUTTONS[step].label,
            danger=transitions.BUTTONS[step].danger,
            hidden=[("seen", _seen(poll))],
            back=back.url,
        )

    def _take(self, request: HttpRequest, poll: Poll, step: str) -> None:
        if request.POST.get("seen") != _seen(poll):
            # The state or round has changed since the page was shown to the user.
            self.message_user(request, _not_now(poll), messages.ERROR)
            return
        try:
            poll = lifecycle.STEPS[step](poll.pk, user_actor(request.user))
        except LandslideError as error:
            self.message_user(request, error.detail, messages.ERROR)
            return
        self.log_change(request, poll, str(transitions.BUTTONS[step].label))
        self.message_user(request, transitions.outcome(step, poll), messages.SUCCESS)
        if not poll.gates_set:
            text = _("The vote log doesn't answer. The step takes effect there as soon as it does.")
            self.message_user(request, text, messages.WARNING)


def _address(poll: Poll) -> str:
    return reverse("admin:polls_poll_change", args=[poll.pk])


def _seen(poll: Poll) -> str:
    return f"{poll.state}:{poll.round}"


def _not_now(poll: Poll) -> str:
    return _("Nothing was changed: the poll is now “%(state)s”, in round %(round)s.") % {
        "state": poll.get_state_display(),
        "round": poll.round,
    }


def _links(poll: Poll) -> list[dict[str, Any]]:
    return [
        {"url": reverse("polls:vote", args=[poll.code]), "label": _("Voters' page"), "short": _("Vote")},
        {
            "url": reverse("realtime:present", args=[poll.code]),
            "label": _("Presenter"),
            "short": _("Present"),
        },
        {"url": reverse("realtime:results", args=[poll.code]), "label": _("Results"), "short": _("Results")},
    ]
