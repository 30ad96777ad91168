"""The admin's look and its sidebar: settings of django-unfold."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _


def _may(permission: str) -> Any:
    return lambda request: request.user.has_perm(permission)


def _page(title: Any, icon: str, model: str) -> dict[str, Any]:
    """Return a sidebar entry for a model's list, shown to users who may view it."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": _may(f"{app}.view_{name}"),
    }


UNFOLD = {
    "SITE_TITLE": "Landslide",
    "SITE_HEADER": "Landslide",
    "SITE_URL": "/",
    "SITE_SYMBOL": "how_to_vote",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("img/mark.svg")},
    ],
    "SHOW_HISTORY": True,
    "BORDER_RADIUS": "8px",
    "STYLES": [
        lambda request: static("css/admin/base.css"),
        lambda request: static("css/admin/poll.css"),
        lambda request: static("css/admin/pages.css"),
    ],
    "DASHBOARD_CALLBACK": "analytics.admin.dashboard.show",
    "ACCOUNT": {
        "navigation": [
            {"title": _("Change password"), "link": reverse_lazy("admin:password_change")},
            {"title": _("Two-factor login"), "link": reverse_lazy("admin:two_factor")},
        ],
    },
    "SIDEBAR": {
        "navigation": [
            {
                "items": [
                    {"title": _("Overview"), "icon": "monitoring", "link": reverse_lazy("admin:index")},
                    _page(_("Polls"), "how_to_vote", "polls.poll"),
                ]
            },
            {
                "title": _("Operation"),
                "items": [
                    _page(_("Dead letters"), "mark_email_unread", "polls.deadletter"),
                    _page(_("Quarantine"), "rule", "analytics.quarantine"),
                    _page(_("Halted counting"), "pause_circle", "analytics.halt"),
                    _page(_("API clients"), "key", "polls.apiclient"),
                    _page(_("Audit log"), "receipt_long", "polls.record"),
                ],
            },
            {
                "title": _("People"),
                "items": [
                    _page(_("Users"), "person", "auth.user"),
                    _page(_("Groups"), "group", "auth.group"),
                ],
            },
        ],
    },
    # The colours of the public pages (static/css/tokens.css), as colour scales for django-unfold.
    "COLORS": {
        "base": {
            "50": "#f7f6f3",
            "100": "#eeece7",
            "200": "#dfdcd6",
            "300": "#c6c2bf",
            "400": "#9a959c",
            "500": "#716d74",
            "600": "#57535a",
            "700": "#3f3d44",
            "800": "#2a292f",
            "900": "#1b1a1f",
            "950": "#131216",
        },
        "primary": {
            "50": "#f4f3fe",
            "100": "#ecebfb",
            "200": "#d8d5f8",
            "300": "#bdb7fb",
            "400": "#aba4ff",
            "500": "#a098ff",
            "600": "#4636c9",
            "700": "#3729a6",
            "800": "#302585",
            "900": "#292166",
            "950": "#1a1542",
        },
    },
}
