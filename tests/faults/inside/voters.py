"""Make an API key and voter cookies for the load, instead of the demo, when a system is prepared.

A separate process for them would take seconds. The demo's polls and its admin's password would take as long.
"""

from __future__ import annotations

import io
import os
from types import ModuleType

from tests.faults.failpoints import COOKIES
from tests.faults.inside.hooks import after_import, failpoints, role


def add() -> None:
    if role() == "serve":
        after_import("config.serving.prepare")(_preparing)


def _preparing(module: ModuleType) -> None:
    def prepare() -> None:
        module.call_command("migrate", interactive=False, verbosity=0)
        module.check_vote_log()
        _make_voters(int(os.environ[COOKIES]))

    module.prepare_demo = prepare  # type: ignore[attr-defined]


def _make_voters(cookies: int) -> None:
    from django.core.management import call_command

    from polls.models import ApiClient
    from polls.voters.identity import new_cookie

    printed = io.StringIO()
    call_command("create_api_key", "faults", scopes=[*ApiClient.Scope], stdout=printed)
    failpoints.publish_voters(printed.getvalue().split()[-1], [new_cookie() for _ in range(cookies)])
