"""Quarantine in the admin: the decisions, their reasons and numbers of ballots, and their release.

Neither voters nor selections are shown anywhere.
"""

import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import re_path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.contrib.filters.admin import ChoicesCheckboxFilter
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from analytics.models import Quarantine
from analytics.quarantine import decisions, disclosure_control
from analytics.quarantine.moves import QuarantineOutcome
from analytics.results.tallies import is_stepping
from polls.admin.base import Admin
from polls.admin.search import FoldedSearch
from polls.audit_log import user_actor
from polls.errors import IllegalState, LandslideError
from polls.models import Ballot, Poll, State, canonical_code
from polls.pages.forms import LineField

Decide = Callable[[int, str], Quarantine]
STEPS: dict[str, Decide] = {"release": decisions.release, "end": decisions.end}
BUTTONS = {"release": gettext_lazy("Release"), "end": gettext_lazy("Stop quarantining new ballots")}
_TITLES = {
    "release": gettext_lazy("Release these ballots?"),
    "end": gettext_lazy("Stop quarantining new ballots?"),
}
FIELDS = (
    "poll_code", "round", "rule", "reason", "ballots", "state_text", "decided_by", "decided_at",
    "released_by", "released_at",
)  # fmt: skip
#: Matches each receipt in a text.
_RECEIPT = re.compile(r"[\w-]{72}")
_FILE_BYTES_AT_MOST = 100 * 1024 * 1024


class QuarantineForm(forms.ModelForm):
    #: The reason why the last attempt failed. The page shows it above the form with the user's input.
    refusal = ""

    code = forms.CharField(label=gettext_lazy("Poll"), widget=UnfoldAdminTextInputWidget, max_length=20)
    receipts = forms.CharField(
        label=gettext_lazy("Receipts"),
        required=False,
        widget=UnfoldAdminTextareaWidget,
        help_text=gettext_lazy(
            "Paste the receipts in any form: of at least ten ballots, or of a whole step if the tally moves"
            " in steps. With fewer, the tally would reveal their selections."
        ),
    )
    file = forms.FileField(
        label=gettext_lazy("File with receipts"),
        required=False,
        widget=UnfoldAdminFileFieldWidget,
        help_text=gettext_lazy("A CSV or text file. Every receipt in it is used."),
    )
    from_now_on = forms.BooleanField(
        label=gettext_lazy("Every ballot from now on"),
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text=gettext_lazy(
            "Instead of receipts: quarantine every ballot that the open poll accepts, until you stop it."
        ),
    )

    class Meta:
        model = Quarantine
        fields = ["reason"]
        field_classes = {"reason": LineField}
        widgets = {"reason": UnfoldAdminTextInputWidget}
        help_texts = {"reason": gettext_lazy("The reason is stored with the ballots and in the audit log.")}

    def clean_code(self) -> Poll:
        poll = Poll.objects.filter(code=canonical_code(self.cleaned_data["code"])).first()
        if poll is None:
            raise ValidationError(_("There is no poll with this code."))
        return poll

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file and file.size > _FILE_BYTES_AT_MOST:
            raise ValidationError(_("The file is too large."))
        return file

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.refusal:
            raise ValidationError(self.refusal)
        text = cleaned.get("receipts", "")
        if cleaned.get("file"):
            text += "\n" + cleaned["file"].read().decode("utf-8", "replace")
        cleaned["found"] = _RECEIPT.findall(text)
        if bool(cleaned["found"]) == bool(cleaned.get("from_now_on")):
            raise ValidationError(_("Enter receipts, or choose every ballot from now on, but not both."))
        return cleaned


@admin.register(Quarantine)
class QuarantineAdmin(FoldedSearch, Admin):
    form = QuarantineForm
    list_display = ("poll_code", "round", "why", "ballots", "state_tag", "decided_by", "decided_at")
    list_display_links = ("poll_code", "why")
    list_filter = (("rule", ChoicesCheckboxFilter),)
    list_filter_submit = True
    search_fields = ("reason", "code", "decided_by")
    search_help_text = gettext_lazy("Reason, poll code, or who decided")
    list_per_page = 50
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Quarantine]:
        code = Poll.objects.filter(pk=OuterRef("poll_id")).values("code")
        quarantined = Ballot.objects.filter(quarantine_id=OuterRef("pk")).values("quarantine_id")
        ballots = quarantined.annotate(ballots=Count("voter_key")).values("ballots")
        decisions: QuerySet[Quarantine] = super().get_queryset(request)
        return decisions.annotate(code=Subquery(code), quarantined_ballots=Subquery(ballots))

    def get_fields(self, request: HttpRequest, obj: Quarantine | None = None) -> Any:
        return FIELDS if obj else ["code", "reason", "receipts", "file", "from_now_on"]

    def get_readonly_fields(self, request: HttpRequest, obj: Quarantine | None = None) -> Any:
        return FIELDS if obj else []

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, str]:
        return {"code": request.GET.get("poll", "")[:20]}

    def has_change_permission(self, request: HttpRequest, obj: Quarantine | None = None) -> bool:
        return False  # a decision can be released, but not edited

    def has_delete_permission(self, request: HttpRequest, obj: Quarantine | None = None) -> bool:
        return False

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("analytics.change_quarantine"))

    @display(description=gettext_lazy("poll"), ordering="code")
    def poll_code(self, decision: Quarantine) -> str:
        return getattr(decision, "code", None) or _("deleted (%(id)s)") % {"id": decision.poll_id}

    @display(description=gettext_lazy("why"))
    def why(self, decision: Quarantine) -> str:
        return decision.reason or decision.get_rule_display()

    @display(description=gettext_lazy("ballots"), empty_value="0")
    def ballots(self, decision: Quarantine) -> str:
        poll = Poll.objects.filter(pk=decision.poll_id, round=decision.round, release_step__gt=1).first()
        if poll is not None and is_stepping(poll):
            return _("with the tally's next step")  # the number of ballots would reveal what the steps hide
        return str(getattr(decision, "quarantined_ballots", None) or 0)

    @display(
        description=gettext_lazy("state"),
        label={"standing": "warning", "quarantined": "info", "moving": "primary", "released": "success"},
    )
    def state_tag(self, decision: Quarantine) -> tuple[str, str]:
        if decision.released_at:
            return ("released", _("Released")) if decision.moved_at else ("moving", _("Being released"))
        if decision.since is not None and decision.until is None:
            return "standing", _("Quarantines new ballots")
        return "quarantined", _("In quarantine")

    @display(description=gettext_lazy("state"))
    def state_text(self, decision: Quarantine) -> str:
        return self.state_tag(decision)[1]

    def save_model(self, request: HttpRequest, obj: Quarantine, form: QuarantineForm, change: bool) -> None:
        given, by = form.cleaned_data, user_actor(request.user)
        if given["from_now_on"]:
            obj.pk = decisions.quarantine_new_ballots(given["code"], given["reason"], by).pk
            self.message_user(request, _("New ballots are quarantined until you stop it."))
        else:
            done = decisions.quarantine_receipts(given["code"], given["found"], given["reason"], by)
            if done.decision is None:
                raise IllegalState(_describe(done))
            self.message_user(request, _describe(done))
            obj.pk = done.decision.pk
        obj.refresh_from_db()

    def response_add(
        self, request: HttpRequest, obj: Quarantine, *_args: Any, **_kwargs: Any
    ) -> HttpResponse:
        """Redirect without Django's message, since save_model has shown a message."""
        return self.response_post_save_add(request, obj)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except LandslideError as error:
            request.refusal = error.detail  # type: ignore[attr-defined]
        return super().changeform_view(request, *args, **kwargs)

    def get_form(
        self, request: HttpRequest, obj: Quarantine | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.refusal = getattr(request, "refusal", "")
        return form

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        decision = kwargs.get("obj")
        if decision and self.has_decide_permission(request):
            context["steps"], context["needs_more"] = _steps(decision), _needs_more(decision)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.step_view)
        pattern = rf"^(?P<decision_id>\d+)/(?P<step>{'|'.join(STEPS)})/$"
        return [re_path(pattern, view, name="analytics_quarantine_step"), *super().get_urls()]

    def step_view(self, request: HttpRequest, decision_id: str, step: str) -> HttpResponse:
        """GET asks for confirmation, POST decides."""
        decision = self.get_object(request, decision_id)
        if decision is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, decision_id)
        if not self.has_decide_permission(request):
            raise PermissionDenied
        page = HttpResponseRedirect(reverse("admin:analytics_quarantine_change", args=[decision.pk]))
        if request.method == "POST":
            try:
                done = STEPS[step](decision.pk, user_actor(request.user))
            except LandslideError as error:
                self.message_user(request, error.detail, messages.ERROR)
            else:
                self.message_user(request, _outcome(step, done), messages.SUCCESS)
            return page
        return self.confirmation(
            request,
            title=_TITLES[step],
            subject=f"{self.poll_code(decision)} · {self.why(decision)}",
            lines=_consequences(step, decision),
            button=BUTTONS[step],
            danger=False,
            back=page.url,
        )


def _steps(decision: Quarantine) -> list[tuple[str, Any]]:
    standing = decision.since is not None and decision.until is None and not decision.released_at
    stays = decision.released_at or _needs_more(decision)
    names = (["end"] if standing else []) + ([] if stays else ["release"])
    return [(name, BUTTONS[name]) for name in names]


def _needs_more(decision: Quarantine) -> int:
    if decision.released_at:
        return 0
    poll = Poll.objects.filter(pk=decision.poll_id).first()
    return disclosure_control.minimum_to_release(poll, decision)


def _describe(done: QuarantineOutcome) -> str:
    quarantined = ngettext(
        "%(count)s ballot is quarantined.", "%(count)s ballots are quarantined.", done.ballots
    ) % {"count": done.ballots}
    rest = {
        _("already quarantined"): done.already,
        _("not counted yet"): done.not_counted,
        _("not of this round"): done.unknown,
        _("released before, and too few to be quarantined again"): done.too_few,
    }
    notes = [f"{count} {what}" for what, count in rest.items() if count]
    return f"{quarantined} {_('Others')}: {', '.join(notes)}." if notes else quarantined


def _consequences(step: str, decision: Quarantine) -> list[str]:
    if step == "end":
        return [
            _("Ballots accepted from now on are counted as usual."),
            _("Quarantined ballots stay in quarantine until they are released."),
        ]
    lines = [
        _("The ballots count again, as if they had never been quarantined."),
        _("The audit log records that you did this."),
    ]
    ended = (State.CLOSED, State.PUBLISHED)
    if Poll.objects.filter(pk=decision.poll_id, round=decision.round, state__in=ended).exists():
        lines.append(_("The result of the poll changes, on all screens."))
    return lines


def _outcome(step: str, decision: Quarantine) -> str:
    if step == "end":
        return _("New ballots are counted as usual.")
    if decision.moved_at is None:
        return _("The ballots are being released. The last of them follow within seconds.")
    return _("The ballots are released and counted.")
