"""The texts of the screens' scripts; see polls.pages.script_messages."""

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from polls.pages.script_messages import Texts

RESULTS: Texts = {
    "asTable": _("Show as a table"),
    "asChart": _("Show as a chart"),
}

PRESENT: Texts = {
    "joinNow": _("Join now"),
    "scan": _("Scan to vote"),
    "scanJoin": _("Scan to join"),
    "scanResult": _("Scan for the result"),
    "hiddenByPresenter": _("The results are hidden for now."),
    "leadingOf": _("The %(count)s leading choices of %(total)s."),
    "firstOf": _("The first %(count)s of %(total)s choices."),
    "levelOf": lambda n: ngettext(
        "%(shown)s of %(total)s choices; %(count)s more is tied with the last one.",
        "%(shown)s of %(total)s choices; %(count)s more are tied with the last one.",
        n,
    ),
    "watchingWord": lambda n: ngettext("watching", "watching", n),
    "fullscreen": _("Full screen"),
    "leaveFullscreen": _("Leave full screen"),
}
