"""Who may log in to the admin, with unfold's looks."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from .base import Admin
from .records import Recorded

admin.site.unregister(User)
admin.site.unregister(Group)
# Their pages show the keys. Everybody has a page of their own: config/second_factor_pages.py.
admin.site.unregister(TOTPDevice)
admin.site.unregister(StaticDevice)


@admin.register(User)
class UserAdmin(Recorded, DjangoUserAdmin, Admin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    readonly_fields = ("last_login", "date_joined")  # facts, which nobody types


@admin.register(Group)
class GroupAdmin(Recorded, DjangoGroupAdmin, Admin):
    pass
