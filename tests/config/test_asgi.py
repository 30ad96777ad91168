"""What the ASGI application does outside Django."""

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.testing import HttpCommunicator, WebsocketCommunicator

from config.asgi import application
from config.security.body_limit import BodyLimit
from tests.servers import PATIENCE


async def answer(path: str = "/healthz", **headers: str) -> dict[str, str]:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    response = await HttpCommunicator(
        application, "GET", path, headers=[(b"host", b"localhost"), *sent]
    ).get_response(PATIENCE)
    return {name.decode().lower(): value.decode() for name, value in response["headers"]}


async def test_valid_request_id_is_kept():
    assert (await answer(x_request_id="proxy-1.2:3_x"))["x-request-id"] == "proxy-1.2:3_x"


@pytest.mark.parametrize("given", ["", "short", "a b c d e f", "x" * 81, 'evil"\n[error]'])
async def test_invalid_request_id_is_replaced(given):
    made = (await answer(x_request_id=given))["x-request-id"]
    assert made != given
    assert len(made) == 16


async def test_request_ids_are_unique():
    assert (await answer())["x-request-id"] != (await answer())["x-request-id"]


async def test_responses_carry_security_headers():
    headers = await answer()
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"


async def test_unknown_websocket_path_closes_with_4404():
    socket = WebsocketCommunicator(application, "/ws/nothing/here/")
    connected, _ = await socket.connect(timeout=PATIENCE)
    assert connected
    assert await socket.receive_output(PATIENCE) == {"type": "websocket.close", "code": 4404}


async def test_lifespan_events_are_acknowledged():
    server = ApplicationCommunicator(application, {"type": "lifespan"})
    for step in ("startup", "shutdown"):
        await server.send_input({"type": f"lifespan.{step}"})
        assert await server.receive_output(PATIENCE) == {"type": f"lifespan.{step}.complete"}
    await server.wait(PATIENCE)


async def test_too_large_content_length_gets_413():
    sent = [(b"host", b"localhost"), (b"content-length", b"99999999"), (b"content-type", b"application/json")]
    answer = await HttpCommunicator(application, "POST", "/admin/", headers=sent).get_response(PATIENCE)
    assert answer["status"] == 413
    assert b'"code":"too_large"' in answer["body"]


@pytest.mark.parametrize("path", ["/admin/login/", "/p/ABC/receipt/"])
async def test_overlong_content_length_is_a_client_error(path):
    sent = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"cookie", b"voter=" + b"x" * 43),
    ]
    for length in (b"0" * 5000 + b"2", b"9" * 5000, b"9" * 18):
        asked = HttpCommunicator(
            application, "POST", path, body=b"{}", headers=[*sent, (b"content-length", length)]
        )
        assert 400 <= (await asked.get_response(PATIENCE))["status"] < 500


async def test_body_over_the_limit_is_cut_off():
    seen = []

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            seen.append(message["body"])
        await send({"type": "http.response.start", "status": 400, "headers": []})

    limited = ApplicationCommunicator(BodyLimit(app, 10), {"type": "http", "headers": []})
    for _ in range(3):
        await limited.send_input({"type": "http.request", "body": b"12345", "more_body": True})
    assert (await limited.receive_output(PATIENCE))["status"] == 400
    assert seen == [b"12345", b"12345"]
