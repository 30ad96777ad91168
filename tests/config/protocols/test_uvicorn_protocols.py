"""The choice of protocol classes by the installed uvicorn."""

import pytest

from config.protocols import uvicorn_limits, uvicorn_protocols
from config.protocols.uvicorn_internals import FAST_PATH, LIMITS, Requirements, is_supported


def test_pinned_uvicorn_supports_the_fast_path() -> None:
    assert is_supported(FAST_PATH)
    assert uvicorn_protocols.protocol_classes() == (
        uvicorn_protocols.LandslideHttp,
        uvicorn_protocols.LandslideWebSocket,
    )


def changed(requirements: Requirements) -> Requirements:
    return tuple((base, names | {"no_longer_there"}, methods) for base, names, methods in requirements)


def test_uvicorn_without_fast_path_names_gets_the_bounded_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uvicorn_protocols, "FAST_PATH", changed(FAST_PATH))
    assert uvicorn_protocols.protocol_classes() == (
        uvicorn_limits.BoundedHttp,
        uvicorn_limits.BoundedWebSocket,
    )


def test_uvicorn_without_the_names_for_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocols, "LIMITS", changed(LIMITS))
    with pytest.raises(SystemExit, match="Landslide can't protect uvicorn"):
        uvicorn_protocols.protocol_classes()
