"""Accounts and groups in the admin.

Only superusers grant permissions. Other account managers can't change, delete or reset the password of an
account that has a permission they lack.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import UsernameField
from django.contrib.auth.models import Group, Permission, User
from django.db.models import CharField, Field, Q
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from polls.admin.audit_log import Recorded
from polls.admin.search import FoldedSearch
from polls.pages.forms import LineField
from polls.voters.ended_accounts import open_login_polls

from .base import Admin

admin.site.unregister(User)
admin.site.unregister(Group)
# The devices' pages would show secrets. Users manage their own devices in
# config/security/two_factor_pages.py.
admin.site.unregister(TOTPDevice)
admin.site.unregister(StaticDevice)


#: The fields of an account that grant permissions.
GRANTS = ("is_staff", "is_superuser", "groups", "user_permissions")


def may_manage(user: Any, account: User | None) -> bool:
    """Whether this user may change the account: it must have no permission that the user lacks."""
    if user.is_superuser or account is None or account.pk == user.pk:
        return True
    # Read from the tables, because Django reports no permissions for inactive accounts.
    granted = Permission.objects.filter(Q(user=account) | Q(group__user=account))
    own = Permission.objects.filter(Q(user=user) | Q(group__user=user))
    return not account.is_superuser and not granted.exclude(pk__in=own).exists()


class NameField(LineField, UsernameField):
    """A user name with visible characters."""


class LineNames:
    """Mixin: names are single lines of visible text."""

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **options: Any) -> Any:
        if type(db_field) is CharField:
            options["form_class"] = NameField if db_field.name == "username" else LineField
        return super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc]


@admin.register(User)
class UserAdmin(FoldedSearch, Recorded, LineNames, DjangoUserAdmin, Admin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    readonly_fields = ("last_login", "date_joined")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, *GRANTS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and may_manage(request.user, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and may_manage(request.user, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Refuse to delete accounts while a poll for accounts is open."""
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, lacking, [*protected, *open_login_polls()]


@admin.register(Group)
class GroupAdmin(FoldedSearch, Recorded, LineNames, DjangoGroupAdmin, Admin):
    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, "permissions")
