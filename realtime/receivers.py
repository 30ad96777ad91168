"""What this floor hears from those below."""

from __future__ import annotations

from typing import Any

from analytics.signals import tally_changed
from polls.signals import poll_changed

from .publish import announce


def connect() -> None:
    tally_changed.connect(_on_tally_changed, dispatch_uid="realtime.tally")
    poll_changed.connect(_on_poll_changed, dispatch_uid="realtime.poll")


def _on_tally_changed(sender: Any, poll_ids: set[int], **_: Any) -> None:
    announce(poll_ids)


def _on_poll_changed(sender: Any, poll_id: int, **_: Any) -> None:
    announce({poll_id})
