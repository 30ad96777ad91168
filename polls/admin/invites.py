"""A poll's invites in the admin: make a batch, download its links, count used invites, revoke it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST, require_safe
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from polls.audit_log import user_actor
from polls.errors import LandslideError
from polls.http.client_address import public_url
from polls.models import Identity, InviteBatch, Poll
from polls.pages.forms import LineField
from polls.text.csv_download import csv_download
from polls.text.plain_text import isolated
from polls.voters import invites

from .base import Admin

LABEL_LENGTH = InviteBatch._meta.get_field("label").max_length or 100


class BatchForm(forms.Form):
    count = forms.IntegerField(
        label=gettext_lazy("How many"),
        validators=[MinValueValidator(1), MaxValueValidator(invites.MAX_COUNT)],
        widget=UnfoldAdminIntegerFieldWidget(attrs={"min": 1, "max": invites.MAX_COUNT}),
    )
    label = LineField(
        label=gettext_lazy("For whom"),
        validators=[MaxLengthValidator(LABEL_LENGTH)],
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": gettext_lazy("Members, press, the jury …")}),
    )


class InvitePages(Admin):
    """The pages about a poll's invites. The addresses of these pages are below the poll's own address."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        batch = "<int:poll_id>/invites/<int:batch_id>/"
        return [
            path("<int:poll_id>/invites/", view(self.invites_view), name="polls_poll_invites"),
            path(f"{batch}links/", view(self.invite_links_view), name="polls_poll_invite_links"),
            path(f"{batch}count/", view(self.invite_count_view), name="polls_poll_invite_count"),
            path(f"{batch}revoke/", view(self.invite_revoke_view), name="polls_poll_invite_revoke"),
            *super().get_urls(),
        ]

    def invites_view(self, request: HttpRequest, poll_id: int) -> HttpResponse:
        """List the batches, with a form that makes a new one."""
        poll = self._invites_of(request, poll_id, changing=request.method == "POST")
        form = BatchForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                batch = invites.make_batch(poll.pk, by=user_actor(request.user), **form.cleaned_data)
            except LandslideError as error:
                self.message_user(request, error.detail, messages.ERROR)
            else:
                self.log_change(request, poll, _("Made %(count)s invites") % {"count": batch.count})
                text = _("The invites are ready. Download the links, and send one to each voter.")
                self.message_user(request, text, messages.SUCCESS)
            return _back(poll)
        return self.page(
            request,
            "admin/polls/poll/invites.html",
            title=_("Invites"),
            poll=poll,
            by_invitation=poll.identity == Identity.INVITE,
            may_change=self.has_change_permission(request, poll),
            batches=invites.batches(poll.pk),
            form=form,
        )

    @method_decorator(require_safe)
    def invite_links_view(self, request: HttpRequest, poll_id: int, batch_id: int) -> HttpResponseBase:
        batch = self._batch(request, poll_id, batch_id)
        if batch.ended:
            self.message_user(request, invites.BATCH_ENDED, messages.ERROR)
            return _back(batch.poll)
        invites.record_download(batch, by=user_actor(request.user))
        site = public_url(request).rstrip("/")
        return csv_download(request, invites.csv_chunks(batch, site), invites.file_name(batch))

    @method_decorator(require_POST)
    def invite_count_view(self, request: HttpRequest, poll_id: int, batch_id: int) -> HttpResponse:
        """Count used invites. Done on demand only, because each invite has to be looked up."""
        batch = self._batch(request, poll_id, batch_id)
        try:
            used = invites.count_used(batch)
        except LandslideError as error:
            self.message_user(request, error.detail, messages.ERROR)
            return _back(batch.poll)
        text = ngettext(
            "%(used)s of the %(count)s invites in “%(batch)s” has a counted ballot in round %(round)s.",
            "%(used)s of the %(count)s invites in “%(batch)s” have a counted ballot in round %(round)s.",
            used,
        ) % {"batch": isolated(name_of(batch)), "used": used, "count": batch.count, "round": batch.poll.round}
        self.message_user(request, text, messages.INFO)
        return _back(batch.poll)

    def invite_revoke_view(self, request: HttpRequest, poll_id: int, batch_id: int) -> HttpResponse:
        """GET asks for confirmation, POST revokes."""
        batch = self._batch(request, poll_id, batch_id)
        if request.method == "POST":
            if invites.revoke_batch(batch.pk, by=user_actor(request.user)):
                self.log_change(
                    request, batch.poll, _("Revoked invites: %(name)s") % {"name": isolated(name_of(batch))}
                )
                self.message_user(request, _("The invites are revoked."), messages.SUCCESS)
            else:
                text = _("These invites are already revoked.")
                self.message_user(request, text, messages.WARNING)
            return _back(batch.poll)
        return self.confirmation(
            request,
            title=_("Revoke these invites?"),
            subject=f"{isolated(name_of(batch))} · {batch.poll}",
            lines=[
                _("These invites no longer work."),
                _("Voters who have used theirs on the voting page can still vote for up to an hour."),
                _("Ballots cast with them stay counted."),
                _("This can't be undone; make new invites instead."),
            ],
            button=_("Revoke the invites"),
            danger=True,
            back=_address(batch.poll),
        )

    def _batch(self, request: HttpRequest, poll_id: int, batch_id: int) -> Any:
        poll = self._invites_of(request, poll_id, changing=True)
        return get_object_or_404(invites.batches(poll.pk), pk=batch_id)

    def _invites_of(self, request: HttpRequest, poll_id: int, *, changing: bool) -> Poll:
        poll = get_object_or_404(Poll, pk=poll_id)
        may = self.has_change_permission if changing else self.has_view_permission
        if not may(request, poll):
            raise PermissionDenied
        return poll


def name_of(batch: InviteBatch) -> str:
    return batch.label or _("Batch %(number)s") % {"number": batch.pk}


def _address(poll: Poll) -> str:
    return reverse("admin:polls_poll_invites", args=[poll.pk])


def _back(poll: Poll) -> HttpResponse:
    return HttpResponseRedirect(_address(poll))
