"""Dead letters in the admin: a person counts them after a repair, or rejects them.

Neither the selection nor the voter is shown anywhere.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import re_path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.contrib.filters.admin import ChoicesCheckboxFilter
from unfold.decorators import display

from analytics.counting.dead_letters import count_letter, reject_letter
from polls.admin.base import ReadOnlyAdmin
from polls.errors import LandslideError
from polls.models import DeadLetter, Poll, State

Settle = Callable[[int, str], DeadLetter]
DECISIONS: dict[str, Settle] = {"count": count_letter, "reject": reject_letter}
BUTTONS = {"count": gettext_lazy("Count now"), "reject": gettext_lazy("Reject for good")}
#: The maximum number of refusals that are listed.
MAX_REFUSALS = 10
FIELDS = (
    "status", "reason", "detail", "poll_code", "round", "partition", "position",
    "accepted_at", "set_aside_at", "settled_at", "settled_by",
)  # fmt: skip


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = (
        "place",
        "status_tag",
        "reason",
        "detail",
        "poll_code",
        "round",
        "set_aside_at",
        "settled_by",
    )
    list_filter = (("status", ChoicesCheckboxFilter),)
    list_filter_submit = True
    list_per_page = 50
    search_fields = ("reason", "detail", "code")
    search_help_text = gettext_lazy("Reason, detail or poll code")
    actions = ["count_selected", "reject_selected"]
    fields = FIELDS
    readonly_fields = FIELDS

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        code = Poll.objects.filter(pk=OuterRef("poll_id")).values("code")
        letters: QuerySet[DeadLetter] = super().get_queryset(request).annotate(code=Subquery(code))
        # The columns of selection and voter aren't even fetched.
        return letters.defer("voter_key", "ballot_id", "selection", "replaces")

    @display(description=gettext_lazy("entry"), ordering="position")
    def place(self, letter: DeadLetter) -> str:
        return f"{letter.partition}:{letter.position}"

    @display(
        description=gettext_lazy("status"),
        ordering="status",
        label={"waiting": "warning", "counted": "success", "rejected": "default"},
    )
    def status_tag(self, letter: DeadLetter) -> tuple[str, str]:
        return letter.status, letter.get_status_display()

    @display(description=gettext_lazy("poll"), ordering="code")
    def poll_code(self, letter: DeadLetter) -> str:
        return getattr(letter, "code", None) or _("deleted (%(id)s)") % {"id": letter.poll_id}

    def has_settle_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may count and reject dead letters. The permission allows nothing else."""
        return bool(request.user.has_perm("polls.change_deadletter"))

    @admin.action(description=BUTTONS["count"], permissions=["settle"])
    def count_selected(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self._decide_selected(request, letters, "count")

    @admin.action(description=BUTTONS["reject"], permissions=["settle"])
    def reject_selected(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self._decide_selected(request, letters, "reject")

    def _decide_selected(
        self, request: HttpRequest, letters: QuerySet[DeadLetter], decision: str
    ) -> HttpResponse | None:
        waiting = letters.filter(status=DeadLetter.Status.WAITING).order_by("partition", "position")
        if "sure" in request.POST:
            self._decide(request, list(waiting), decision)
            return None
        if not waiting:
            self.message_user(request, _("None of these is waiting for a decision."), messages.WARNING)
            return None
        chosen = [(ACTION_CHECKBOX_NAME, pk) for pk in waiting.values_list("pk", flat=True)]
        hidden = [("action", f"{decision}_selected"), ("index", 0), ("sure", "yes"), *chosen]
        return self._ask(request, list(waiting), decision, hidden, request.get_full_path())

    def get_urls(self) -> list[Any]:
        names = "|".join(DECISIONS)
        view = self.admin_site.admin_view(self.decision_view)
        pattern = rf"^(?P<letter_id>\d+)/(?P<decision>{names})/$"
        return [re_path(pattern, view, name="polls_deadletter_decide"), *super().get_urls()]

    def decision_view(self, request: HttpRequest, letter_id: str, decision: str) -> HttpResponse:
        """GET asks for confirmation, POST counts or rejects the dead letter."""
        letter = self.get_object(request, letter_id)
        if letter is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, letter_id)
        if not self.has_settle_permission(request):
            raise PermissionDenied
        page = HttpResponseRedirect(reverse("admin:polls_deadletter_change", args=[letter.pk]))
        if request.method == "POST":
            self._decide(request, [letter], decision)
            return page
        if letter.status != DeadLetter.Status.WAITING:
            self.message_user(request, _("This dead letter is already settled."), messages.WARNING)
            return page
        return self._ask(request, [letter], decision, [], page.url)

    def _ask(
        self,
        request: HttpRequest,
        letters: list[DeadLetter],
        decision: str,
        hidden: list[tuple[str, Any]],
        back: str,
    ) -> HttpResponse:
        number = {"count": len(letters)}
        title = {
            "count": ngettext(
                "Count this dead letter now?", "Count %(count)s dead letters now?", len(letters)
            ),
            "reject": ngettext("Reject this dead letter?", "Reject %(count)s dead letters?", len(letters)),
        }[decision]
        return self.confirmation(
            request,
            title=title % number,
            subject=", ".join(sorted({letter.reason for letter in letters})),
            lines=_consequences(decision, letters),
            button=BUTTONS[decision],
            danger=decision == "reject",
            hidden=hidden,
            back=back,
        )

    def _decide(self, request: HttpRequest, letters: Iterable[DeadLetter], decision: str) -> None:
        settled, refusals = 0, []
        for letter in letters:
            try:
                DECISIONS[decision](letter.pk, request.user.get_username())
            except LandslideError as error:
                refusals.append(f"{self.place(letter)}: {error.detail}")
            except OperationalError:
                refusals.append(
                    _("%(entry)s: the counting was busy; try again.") % {"entry": self.place(letter)}
                )
            else:
                settled += 1
                self.log_change(request, letter, str(BUTTONS[decision]))
        if settled:
            self.message_user(request, _settled(decision, settled), messages.SUCCESS)
        for refusal in refusals[:MAX_REFUSALS]:
            self.message_user(request, refusal, messages.ERROR)
        more = len(refusals) - MAX_REFUSALS
        if more > 0:
            text = ngettext(
                "%(count)s more couldn't be settled.", "%(count)s more couldn't be settled.", more
            )
            self.message_user(request, text % {"count": more}, messages.ERROR)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        context["decisions"] = BUTTONS if self.has_settle_permission(request) else {}
        return super().render_change_form(request, context, *args, **kwargs)


def _consequences(decision: str, letters: list[DeadLetter]) -> list[str]:
    if decision == "reject":
        return [
            _("A rejected ballot is never counted, and its receipt says “rejected”."),
            _("This can't be undone."),
        ]
    lines = [
        _("A ballot is checked again by its round's rules. It is counted if valid; otherwise it stays here."),
        _("A voter who already has a counted ballot in that round isn't counted again."),
    ]
    states = set(
        Poll.objects.filter(pk__in={letter.poll_id for letter in letters}).values_list("state", flat=True)
    )
    if states & {State.CLOSED, State.PUBLISHED}:
        lines.append(_("The result of a closed or published poll changes, on all screens."))
    return lines


def _settled(decision: str, count: int) -> str:
    text = {
        "count": ngettext("%(count)s dead letter is counted.", "%(count)s dead letters are counted.", count),
        "reject": ngettext(
            "%(count)s dead letter is rejected.", "%(count)s dead letters are rejected.", count
        ),
    }[decision]
    return text % {"count": count}
