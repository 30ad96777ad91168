"""Secrets that must not appear in logs, and the staff and voters who use them on a running system."""

import json
import re
import secrets
import uuid
from typing import Any

import httpx

from tests import fetch
from tests.e2e.admin_login import code_for
from tests.e2e.clients import Client, http_client
from tests.servers import PATIENCE

SECRET_KEY = "the-secret-key-" + secrets.token_urlsafe(32)
DATABASE_PASSWORD = "the-database-password-" + secrets.token_hex(8)
#: The system under test logs as much as it can.
VERBOSE = {"SECRET_KEY": SECRET_KEY, "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"}


class WithPassword:
    """The PostgreSQL server with a password in its URL. The server ignores it; errors may quote the URL."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)

    def url(self, database: str) -> str:
        address: str = self.server.url(database)
        return address.replace("landslide@", f"landslide:{DATABASE_PASSWORD}@")


class Secrets:
    """The secrets that must not be found, by name."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def note(self, **values: str) -> None:
        self.known.update({name: value for name, value in values.items() if len(value) >= 6})

    def found_in(self, text: str) -> list[str]:
        return [name for name, value in self.known.items() if value in text]


def post(client: httpx.Client, page: str, **form: str) -> httpx.Response:
    return client.post(page, data={**form, "csrfmiddlewaretoken": client.cookies["csrftoken"]})


def staff_at_work(system: Any, found: Secrets) -> httpx.Client:
    """Enter a wrong password, log in, set up the second factor, make an API key, request a missing page."""
    staff = http_client(base_url=system.url, headers={"Referer": system.url})
    staff.get("/admin/login/")
    wrong = "a-wrong-password-" + secrets.token_hex(6)
    post(staff, "/admin/login/", username="admin", password=wrong)
    post(staff, "/admin/login/", username="admin", password=system.admin_password)
    found.note(wrong_password=wrong, password=system.admin_password, half_session=staff.cookies["sessionid"])
    page = staff.get("/admin/two-factor/setup/").text
    key = re.search(r'<pre class="ls-pre" translate="no">([A-Z2-7 ]+)</pre>', page)
    assert key
    code = code_for(key[1])
    shown = post(staff, "/admin/two-factor/setup/", code=code)
    recovery = re.findall(r"^(?:.*>)?(\d{4} \d{4} \d{4} \d{4})", shown.text, re.MULTILINE)
    assert len(recovery) == 10
    found.note(totp_key=key[1].replace(" ", ""), totp_key_spaced=key[1], recovery=recovery[0])
    found.note(recovery_plain=recovery[0].replace(" ", ""))
    found.note(session=staff.cookies["sessionid"], csrf=staff.cookies["csrftoken"])
    assert staff.get("/admin/polls/poll/").status_code == 200
    made = post(staff, "/admin/polls/apiclient/add/", name="from the page", scopes="polls:read")
    api_key = re.search(r'id="api-key"[^>]*|value="([\w.-]{30,})"[^>]*id="api-key"', made.text)
    assert api_key and api_key[1]
    found.note(api_key_of_page=api_key[1], api_key_of_page_secret=api_key[1].partition(".")[2])
    post(staff, "/admin/two-factor/recovery-codes/", password=wrong)
    post(staff, "/admin/nowhere/", password=wrong, code=code)
    return staff


def voters_at_work(system: Any, client: Client, staff: httpx.Client, found: Secrets) -> str:
    code = client.make_poll(results_visible="after_vote")
    voter = http_client(base_url=system.url)
    voter.get(f"/api/v1/polls/{code}/voter/")
    cookie = voter.cookies["voter"]
    ballot = str(uuid.uuid4())
    body = {"selections": [1], "ballot_id": ballot}
    accepted = voter.post(f"/api/v1/polls/{code}/ballots/", json=body)
    assert accepted.status_code == 202, accepted.text
    name = "the-voter-" + secrets.token_hex(8)
    found.note(voter_cookie=cookie, ballot_id=ballot, voter_of_a_client=name)
    assert client.cast(code, name, [2]).status_code == 202
    client.cast_batch(code, [{"selections": [1], "voter": name + "-2", "ballot_id": str(uuid.uuid4())}])
    # Refused, malformed and forged requests, each with secrets in it.
    client.cast(code, name, [99])
    client.cast(code, name, [1])
    voter.post(
        f"/api/v1/polls/{code}/ballots/",
        content=f'{{"selections": "{name}"',
        headers={"Content-Type": "application/json"},
    )
    forged = "forged-" + secrets.token_hex(20)
    found.note(forged=forged)
    for headers in ({"Authorization": f"Api-Key {forged}"}, {"Cookie": f"voter={forged}; sessionid={forged}"},
                    {"Authorization": f"Bearer {forged}"}, {"Voter-Invite": forged}):  # fmt: skip
        fetch.get(f"{system.url}/api/v1/polls/{code}/", headers=headers)
        fetch.get(f"{system.url}/api/v1/polls/{code}/voter/", headers=headers)
        fetch.post(f"{system.url}/api/v1/polls/{code}/ballots/", json=body, headers=headers)
        fetch.get(f"{system.url}/api/v1/polls/{code}/tally/", headers=headers)
    cookies = {"Cookie": f"voter={cookie}; sessionid={staff.cookies['sessionid']}"}
    with fetch.websocket(f"{system.ws_url}/ws/polls/{code}/", additional_headers=cookies) as socket:
        socket.recv(timeout=PATIENCE)
        socket.send(json.dumps({"type": "recheck", "token": forged}))
        socket.recv(timeout=PATIENCE)
    return code


def lines_with(secret: str, log: str) -> list[str]:
    return [line[:300] for line in log.splitlines() if secret in line][:2]
