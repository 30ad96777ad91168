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


def _shades(colours: str) -> dict[str, str]:
    """Return django-unfold's scale of these colours, from the lightest to the darkest."""
    steps = ("50", *(str(step) for step in range(100, 1000, 100)), "950")
    return {step: f"#{colour}" for step, colour in zip(steps, colours.split(), strict=True)}


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
        "base": _shades("f7f6f3 eeece7 dfdcd6 c6c2bf 9a959c 716d74 57535a 3f3d44 2a292f 1b1a1f 131216"),
        "primary": _shades("f4f3fe ecebfb d8d5f8 bdb7fb aba4ff a098ff 4636c9 3729a6 302585 292166 1a1542"),
    },
}
