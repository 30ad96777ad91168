import pytest

from config.protocols.uvicorn_http import LandslideHttp


@pytest.fixture(params=["our handshake", "uvicorn's"])
def handshake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "uvicorn's":
        monkeypatch.setattr(LandslideHttp, "handshake_accept_key", lambda _: None)
