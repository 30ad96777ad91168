"""Which protocols serve on which uvicorn."""

import pytest

from config.protocols import uvicorn_limits, uvicorn_protocols
from config.protocols.uvicorn_internals import BOUNDS, FAST_PATH, Seam, is_known


def test_the_seam_is_as_we_know_it() -> None:
    assert is_known(FAST_PATH)
    assert uvicorn_protocols.classes() == (
        uvicorn_protocols.LandslideHttp,
        uvicorn_protocols.LandslideWebSocket,
    )


def changed(seam: Seam) -> Seam:
    return tuple((base, names | {"no_longer_there"}, methods) for base, names, methods in seam)


def test_another_uvicorn_serves_by_plain_sends_within_the_same_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uvicorn_protocols, "FAST_PATH", changed(FAST_PATH))
    assert uvicorn_protocols.classes() == (uvicorn_limits.BoundedHttp, uvicorn_limits.BoundedWebSocket)


def test_a_uvicorn_that_cannot_be_bounded_is_not_served_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocols, "BOUNDS", changed(BOUNDS))
    with pytest.raises(SystemExit, match="Landslide doesn't know uvicorn"):
        uvicorn_protocols.classes()
