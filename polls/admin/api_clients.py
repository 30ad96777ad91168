"""API clients in the admin. The key of a new client is shown once. Revoking a key is final."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework_api_key.models import APIKey
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from polls.admin.search import FoldedSearch
from polls.audit_log import record, user_actor
from polls.models import ApiClient
from polls.pages.forms import LineField
from polls.text.plain_text import isolated

from .base import Admin

admin.site.unregister(APIKey)  # replaced by ApiClient, which has scopes


def scope_choices() -> list[tuple[str, str]]:
    return [(scope.value, f"{scope.value} – {scope.label}") for scope in ApiClient.Scope]


class ApiClientForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Scopes"),
        choices=scope_choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=gettext_lazy("What the key may be used for."),
    )

    class Meta:
        model = ApiClient
        fields = ["name", "scopes", "expiry_date"]
        field_classes = {"name": LineField}
        help_texts = {
            "name": gettext_lazy("Who uses the key, and for what."),
            "expiry_date": gettext_lazy("When the key stops working. Empty: it doesn't expire."),
        }


def _record(request: HttpRequest, action: str, client: ApiClient, **detail: Any) -> None:
    record(user_actor(request.user), action, client=f"{client.prefix} {client.name}", **detail)


@admin.register(ApiClient)
class ApiClientAdmin(FoldedSearch, Admin):
    form = ApiClientForm
    list_display = ("name", "prefix", "scope_tags", "status_tag", "created", "expiry_date")
    search_fields = ("name", "prefix")
    list_filter = ("revoked",)
    fields = ["name", "scopes", "expiry_date"]
    actions = None

    @display(description=gettext_lazy("scopes"), label=True)
    def scope_tags(self, client: ApiClient) -> list[str]:
        return list(client.scopes)

    @display(
        description=gettext_lazy("status"),
        label={"active": "success", "expired": "warning", "revoked": "danger"},
    )
    def status_tag(self, client: ApiClient) -> tuple[str, str]:
        if client.revoked:
            return "revoked", _("Revoked")
        return ("expired", _("Expired")) if client.has_expired else ("active", _("Active"))

    @display(description=gettext_lazy("scopes"))
    def scope_names(self, client: ApiClient) -> str:
        return ", ".join(client.scopes)

    @display(description=gettext_lazy("status"))
    def status_text(self, client: ApiClient) -> str:
        return self.status_tag(client)[1]

    def get_fields(self, request: HttpRequest, obj: ApiClient | None = None) -> list[str]:
        writable = obj is None or (not obj.revoked and self.has_change_permission(request, obj))
        scopes = "scopes" if writable else "scope_names"
        return ["name", scopes, "expiry_date", *(["prefix", "created", "status_text"] if obj else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiClient | None = None) -> list[str]:
        if obj is None:
            return []
        frozen = ["name", "expiry_date", "scopes"] if obj.revoked else []
        return [*frozen, "scope_names", "prefix", "created", "status_text"]

    def has_delete_permission(self, request: HttpRequest, obj: ApiClient | None = None) -> bool:
        return False  # revoked keys stay listed: the audit log names them

    # The key is shown once. It isn't stored, not even in a session message.

    def save_model(self, request: HttpRequest, obj: ApiClient, form: Any, change: bool) -> None:
        if not change:
            request.new_api_key = ApiClient.objects.assign_key(obj)  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)
        action = "API client changed" if change else "API client made"
        _record(request, action, obj, scopes=obj.scopes, expires=obj.expiry_date)

    def response_add(
        self, request: HttpRequest, obj: ApiClient, post_url_continue: Any = None
    ) -> HttpResponse:
        return self.page(
            request,
            "admin/polls/apiclient/key.html",
            title=_("The key of “%(name)s”") % {"name": isolated(obj.name)},
            key=request.new_api_key,  # type: ignore[attr-defined]
            client=obj,
            back=reverse("admin:polls_apiclient_changelist"),
        )

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Check the id first: it is text, and PostgreSQL refuses some characters, such as NUL."""
        return super().get_object(request, object_id, from_field) if object_id.isprintable() else None

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.revoke_view)
        return [path("<path:prefix>/revoke/", view, name="polls_apiclient_revoke"), *super().get_urls()]

    def revoke_view(self, request: HttpRequest, prefix: str) -> HttpResponse:
        """GET asks for confirmation, POST revokes."""
        client = ApiClient.objects.filter(prefix=prefix).first() if prefix.isprintable() else None
        if client is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, prefix)
        if not self.has_change_permission(request, client):
            raise PermissionDenied
        clients = HttpResponseRedirect(reverse("admin:polls_apiclient_changelist"))
        if client.revoked:
            self.message_user(request, _("This key is already revoked."), messages.WARNING)
            return clients
        if request.method == "POST":
            ApiClient.objects.filter(pk=client.pk).update(revoked=True)
            self.log_change(request, client, _("Revoked"))
            _record(request, "API client revoked", client)
            text = _("The key of “%(name)s” is revoked.") % {"name": isolated(client.name)}
            self.message_user(request, text, messages.SUCCESS)
            return clients
        return self.confirmation(
            request,
            title=_("Revoke this key?"),
            subject=f"{isolated(client.name)} ({client.prefix})",
            lines=[
                _("Every request with this key is refused from now on."),
                _("This can't be undone. If it is needed again, create a new API client."),
            ],
            button=_("Revoke the key"),
            danger=True,
            back=clients.url,
        )
