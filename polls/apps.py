from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PollsConfig(AppConfig):
    name = "polls"
    verbose_name = _("Polls")

    def ready(self) -> None:
        """Import the modules that receive Django's signals."""
        import polls.login_log
        import polls.voters.ended_accounts  # noqa: F401
