"""Modes that processes publish, and what each mode means."""

import pytest

from analytics.health import modes


def test_a_published_mode_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "EXPIRES_AFTER_SECONDS", 0)
    modes.publish(modes.CROWDED)
    assert modes.published() == set()


def test_every_mode_has_a_description() -> None:
    named = {value for name, value in vars(modes).items() if name.isupper() and isinstance(value, str)}
    assert named == set(modes.DESCRIPTIONS)
