"""Receivers of the signals that polls and tallies have changed."""

from typing import Any

from analytics.signals import tally_changed
from polls.signals import poll_changed
from realtime.hub import current_hub
from realtime.publish import announce


def connect() -> None:
    tally_changed.connect(_on_tally_changed, dispatch_uid="realtime.tally")
    poll_changed.connect(_on_poll_changed, dispatch_uid="realtime.poll")


def _on_tally_changed(sender: Any, poll_ids: set[int], **_: Any) -> None:
    hub = current_hub()
    if hub is not None:
        hub.mark_changed(poll_ids)  # the hub knows of the change before the caller continues
    announce(poll_ids)


def _on_poll_changed(sender: Any, poll_id: int, **_: Any) -> None:
    _on_tally_changed(sender, {poll_id})
