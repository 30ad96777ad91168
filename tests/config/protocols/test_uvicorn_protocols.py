"""Which protocols serve on which uvicorn."""

import pytest

from config.protocols import uvicorn_limits, uvicorn_protocols
from config.protocols.uvicorn_internals import FAST_PATH, LIMITS, Requirements, is_supported


def test_the_seam_is_as_we_know_it() -> None:
    assert is_supported(FAST_PATH)
    assert uvicorn_protocols.protocol_classes() == (
        uvicorn_protocols.LandslideHttp,
        uvicorn_protocols.LandslideWebSocket,
    )


def changed(requirements: Requirements) -> Requirements:
    return tuple((base, names | {"no_longer_there"}, methods) for base, names, methods in requirements)


def test_another_uvicorn_serves_by_plain_sends_within_the_same_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uvicorn_protocols, "FAST_PATH", changed(FAST_PATH))
    assert uvicorn_protocols.protocol_classes() == (
        uvicorn_limits.BoundedHttp,
        uvicorn_limits.BoundedWebSocket,
    )


def test_a_uvicorn_that_cannot_be_bounded_is_not_served_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocols, "LIMITS", changed(LIMITS))
    with pytest.raises(SystemExit, match="Landslide can't protect uvicorn"):
        uvicorn_protocols.protocol_classes()
