"""Halted polls in the admin: the reason of each halt, the held ballots, and a page to resume counting."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import re_path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from analytics.counting import held_ballots, resuming
from analytics.models import Halt
from polls.admin.base import ReadOnlyAdmin
from polls.audit_log import user_actor
from polls.errors import LandslideError
from polls.models import Poll

FIELDS = ("poll_code", "reason", "held", "state_text", "halted_at")
BUTTONS = {
    "resume": gettext_lazy("Resume counting"),
    "give-up": gettext_lazy("Send failing ballots to the dead letters"),
}


@admin.register(Halt)
class HaltAdmin(ReadOnlyAdmin):
    list_display = FIELDS
    fields = FIELDS
    readonly_fields = FIELDS
    actions = None

    @display(description=gettext_lazy("poll"))
    def poll_code(self, row: Halt) -> str:
        return Poll.objects.filter(pk=row.poll_id).values_list("code", flat=True).first() or str(row.poll_id)

    @display(description=gettext_lazy("ballots held"))
    def held(self, row: Halt) -> int:
        return held_ballots.count_ballots(row.poll_id)

    @display(description=gettext_lazy("state"))
    def state_text(self, row: Halt) -> str:
        return _("Being counted") if row.resumed_by else _("Waits for a decision")

    def has_resume_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("analytics.change_halt"))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        if self.has_resume_permission(request):
            context["steps"] = BUTTONS.items()
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.step_view)
        pattern = rf"^(?P<poll_id>\d+)/(?P<step>{'|'.join(BUTTONS)})/$"
        return [re_path(pattern, view, name="analytics_halt_step"), *super().get_urls()]

    def step_view(self, request: HttpRequest, poll_id: str, step: str) -> HttpResponse:
        """GET asks for confirmation, POST resumes the counting."""
        row, poll = self.get_object(request, poll_id), Poll.objects.filter(pk=poll_id).first()
        if row is None or poll is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, poll_id)
        if not self.has_resume_permission(request):
            raise PermissionDenied
        page = reverse("admin:analytics_halt_changelist")
        if request.method == "POST":
            self._resume(request, poll, let_fail=step == "give-up")
            return HttpResponseRedirect(page)
        return self.confirmation(
            request,
            title=_("Resume the counting?")
            if step == "resume"
            else _("Resume, and make dead letters of the ballots that fail?"),
            subject=str(poll),
            lines=_consequences(step, row),
            button=BUTTONS[step],
            danger=step == "give-up",
            back=page,
        )

    def _resume(self, request: HttpRequest, poll: Poll, *, let_fail: bool) -> None:
        try:
            done = resuming.resume(poll, user_actor(request.user), let_fail=let_fail)
        except LandslideError as error:
            self.message_user(request, error.detail, messages.ERROR)
            return
        if done:
            self.message_user(request, _("All held ballots are counted."), messages.SUCCESS)
        elif Halt.objects.filter(poll_id=poll.pk, resumed_by="").exists():
            self.message_user(
                request, _("Most of the ballots still fail, so counting halted again."), messages.ERROR
            )
        else:
            text = _("The ballots are being counted. The last of them follow within seconds.")
            self.message_user(request, text, messages.SUCCESS)


def _consequences(step: str, row: Halt) -> list[str]:
    held = _("%(count)s ballots are counted, in the order in which they were accepted.") % {
        "count": held_ballots.count_ballots(row.poll_id)
    }
    if step == "resume":
        return [held, _("Repair the cause first: if most of them fail again, counting halts again.")]
    return [held, _("Ballots that fail become dead letters, even if most of them fail.")]
