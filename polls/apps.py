from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PollsConfig(AppConfig):
    name = "polls"
    verbose_name = _("Polls")

    def ready(self) -> None:
        from polls import login_log
        from polls.voters import ended_accounts

        login_log.connect()
        ended_accounts.connect()
