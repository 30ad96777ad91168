"""Call the API in this process with JSON and a key, and check its answers."""

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

from polls import drafts, lifecycle
from polls.models import ApiClient, Poll

POLLS = "/api/v1/polls/"


def make_key(*scopes: str, **fields: Any) -> str:
    return ApiClient.objects.create_key(name="third party", scopes=list(scopes), **fields)[1]


def make_poll(*choices: str, open: bool = False, **fields: Any) -> Poll:
    poll = drafts.create_poll(choices or ("Tea", "Coffee", "Water"), **{"question": "What?"} | fields)
    return lifecycle.open_poll(poll.pk) if open else poll


class Caller:
    """A client of the API. It sends `body` as JSON, or bytes unchanged. Errors must be problem documents."""

    def __init__(self, key: str | None = None) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Host": "testserver"} | ({"Authorization": f"Api-Key {key}"} if key else {})

    def __call__(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **headers: str
    ) -> HttpResponse:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        answer: Any = self.client.generic(method, path, raw, headers=sent, CONTENT_TYPE=content_type)
        if answer.status_code >= 400:
            check_problem(answer)
        return answer


def check_problem(answer: Any) -> None:
    assert answer["Content-Type"] == "application/problem+json", answer.content[:200]
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["type"] == f"/api/errors/#{document['code']}"
    assert document["title"] and document["detail"]
    assert answer["Cache-Control"] == "no-store"
    if answer.status_code in (429, 503):
        assert int(answer["Retry-After"]) > 0
    if answer.status_code == 401:
        assert answer["WWW-Authenticate"] == "Api-Key"


def refusal(answer: Any) -> tuple[int, str]:
    """Return the (status, code) of a refusal."""
    return answer.status_code, answer.json()["code"]
