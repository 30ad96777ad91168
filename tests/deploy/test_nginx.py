"""deploy/nginx.conf in a real nginx, in front of a running Landslide."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from polls.errors import TooLarge
from tests import fetch, install
from tests.deploy.documents import assert_problem
from tests.e2e.clients import Client, http_client, new_voter
from tests.servers import PATIENCE, SHIPPED_NGINX, Nginx, wait_for
from tests.system import Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def system(shared_embedded: Landslide) -> Landslide:
    return shared_embedded


@pytest.fixture(scope="module")
def client(system: Landslide) -> Client:
    return Client(system)


@pytest.fixture(scope="module")
def front(system: Landslide) -> Iterator[Nginx]:
    server = Nginx(system.port)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def test_nginx_reports_no_warnings(front: Nginx) -> None:
    done = subprocess.run([*front.command(), "-t"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if "[warn]" in line or "[emerg]" in line]
    # Without root, nginx warns that it can't change its user.
    assert [line for line in complaints if 'the "user" directive' not in line] == []


def test_parents_of_all_folders_exist_on_debian() -> None:
    """nginx creates only the last folder of a path. The parents come with Debian's package."""
    places = re.findall(r"^[^#\n]*?\s(/(?:var|run|etc)/[^\s;]+)", SHIPPED_NGINX.read_text(), re.M)
    assert len(set(places)) >= 4
    assert [place for place in places if not Path(place).parent.is_dir()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="nginx creates its folder and opens its log as root")
def test_unchanged_file_is_valid() -> None:
    cache = Path("/var/cache/landslide")
    had = cache.exists()
    done = subprocess.run([install.nginx(), "-t", "-c", SHIPPED_NGINX], capture_output=True, text=True)
    if not had and cache.exists():
        cache.rmdir()
    assert done.returncode == 0, done.stderr


# --- forwarded requests ---


@pytest.mark.parametrize("page", ["", "results/", "present/"])
def test_pages_and_their_files_are_served(front: Nginx, client: Client, page: str) -> None:
    code = client.make_poll()
    answer = fetch.get(f"{front.url}/p/{code}/{page}")
    assert answer.status_code == 200
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', answer.text))
    assert len(files) >= 4
    for path in files:
        got = fetch.get(front.url + path, headers={"Accept-Encoding": "gzip, br"})
        assert (got.status_code, "immutable" in got.headers["Cache-Control"]) == (200, True), path


@pytest.mark.parametrize("page", ["", "results/", "present/"])
def test_page_is_cached_for_everybody(front: Nginx, client: Client, page: str) -> None:
    code = client.make_poll()
    address = f"{front.url}/p/{code}/{page}"
    first = fetch.get(address)
    second = fetch.get(f"{address}?from=a-stream-of-somebody", headers={"Cookie": "voter=x; sessionid=y"})
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("MISS", "HIT")
    assert first.content == second.content
    same = fetch.get(address, headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")


def test_static_file_is_cached_per_encoding(front: Nginx, client: Client) -> None:
    page = fetch.get(f"{front.url}/p/{client.make_poll()}/")
    path = re.findall(r'href="(/static/css/pages/vote[^"]+)"', page.text)[0]
    plain = fetch.get(front.url + path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    for asked, told in (("br", "br"), ("gzip, deflate", "gzip"), ("gzip, deflate, br, zstd", "br")):
        got = fetch.get(front.url + path, headers={"Accept-Encoding": asked})
        assert got.headers["Content-Encoding"] == told
    assert fetch.get(front.url + path, headers={"Accept-Encoding": "br"}).headers["X-Cache"] == "HIT"


def test_ballot_is_accepted_and_counted(front: Nginx, client: Client) -> None:
    code = client.make_poll()
    voter = new_voter(front.url, code)
    answer = voter.post(f"/api/v1/polls/{code}/ballots/", json={"selections": [2]}, headers=from_page(front))
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    wait_for(lambda: tally(front, code)["ballots"] == 1, what="the tally")
    assert voter.get(f"/api/v1/polls/{code}/voter/").json()["voted"] is True


def test_batch_is_accepted(front: Nginx, client: Client) -> None:
    code = client.make_poll()
    ballots = [{"selections": [1], "voter": f"{'v' * 150}-{n}"} for n in range(3000)]
    answer = client.http.post(f"{front.url}/api/v1/polls/{code}/ballots/batch/", json={"ballots": ballots})
    assert answer.status_code == 200
    assert {outcome["status"] for outcome in answer.json()["outcomes"]} == {"accepted"}


def from_page(front: Nginx) -> dict[str, str]:
    """Return the Origin that a browser sends. Landslide compares it with the Host that nginx forwards."""
    return {"Origin": front.url}


def tally(front: Nginx, code: str) -> dict:
    return fetch.get(f"{front.url}/api/v1/polls/{code}/tally/").json()


def test_websocket_shows_each_change(front: Nginx, client: Client) -> None:
    code = client.make_poll()
    with fetch.websocket(f"ws://127.0.0.1:{front.port}/ws/polls/{code}/", origin=front.url) as socket:

        def ballots() -> int:
            while (message := json.loads(socket.recv(timeout=PATIENCE)))["type"] != "tally":
                pass
            return message["ballots"]

        assert ballots() == 0
        client.cast(code, "anna", [1])
        assert ballots() == 1


def test_event_stream_shows_each_change(front: Nginx, client: Client) -> None:
    code = client.make_poll()
    address = f"{front.url}/api/v1/polls/{code}/stream/"
    with fetch.stream("GET", address, headers={"Accept": "text/event-stream"}) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = stream.iter_lines()

        def ballots() -> int:
            while True:
                line = next(lines)
                if line.startswith("data:") and (message := json.loads(line[5:]))["type"] == "tally":
                    return message["ballots"]

        assert ballots() == 0
        client.cast(code, "anna", [1])
        assert ballots() == 1


# --- the cache ---

#: X-Cache of a response from the cache. On a busy machine it may already be older than its one second.
KEPT = {"HIT", "STALE", "UPDATING"}


def test_nginx_answers_304_for_an_unchanged_tally(front: Nginx, client: Client) -> None:
    address = f"{front.url}/api/v1/polls/{client.make_poll()}/tally/"
    first = fetch.get(address)
    assert first.headers["X-Cache"] == "MISS"
    again = fetch.get(address, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["X-Cache"] in KEPT) == (304, b"", True)
    assert again.headers["ETag"] == first.headers["ETag"]
    other = fetch.get(address, headers={"If-None-Match": '"0-0-0"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_hidden_tally_is_not_cached(front: Nginx, client: Client) -> None:
    code = client.make_poll(results_visible="after_vote")
    address = f"/api/v1/polls/{code}/tally/"
    voted, waiting = new_voter(front.url, code), new_voter(front.url, code)
    assert voted.post(f"/api/v1/polls/{code}/ballots/", json={"selections": [1]}).status_code == 202
    for _ in range(3):
        shown, hidden = voted.get(address), waiting.get(address)
        assert (shown.json()["visible"], hidden.json()["visible"]) == (True, False)
        assert "ballots" not in hidden.json()
        assert {shown.headers["X-Cache"], hidden.headers["X-Cache"]} == {"MISS"}


def test_voter_endpoint_is_not_cached(front: Nginx, client: Client) -> None:
    code = client.make_poll()
    first, second = new_voter(front.url, code), new_voter(front.url, code)
    assert first.cookies["voter"] != second.cookies["voter"]
    first.post(f"/api/v1/polls/{code}/ballots/", json={"selections": [1]})
    answers = [voter.get(f"/api/v1/polls/{code}/voter/") for voter in (first, second, first)]
    assert [answer.json()["voted"] for answer in answers] == [True, False, True]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"private, no-store"}
    assert not any("X-Cache" in answer.headers for answer in answers)


def test_each_new_voter_gets_a_cookie(front: Nginx, client: Client) -> None:
    address = f"{front.url}/api/v1/polls/{client.make_poll()}/ballots/"
    answers = [fetch.post(address, json={"selections": [1]}) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.cookies["voter"] for answer in answers}) == 2


@pytest.mark.parametrize("page", ["", "results/", "present/"])
def test_404_of_a_poll_is_not_cached(front: Nginx, client: Client, page: str) -> None:
    code = f"NEW{page[:3].upper()}"
    address = f"{front.url}/p/{code}/{page}"
    before = fetch.get(address)
    assert (before.status_code, before.headers["Cache-Control"]) == (404, "no-store")
    client.make_poll(code=code)
    assert fetch.get(address).status_code == 200


@pytest.mark.parametrize("cookie", ["sessionid=y", f"sessionid={'s' * 32}", "csrftoken=bad", "a=b"])
def test_cookies_do_not_bypass_the_cache(front: Nginx, client: Client, cookie: str) -> None:
    code = client.make_poll()
    for address in (f"/p/{code}/", f"/p/{code}/results/", f"/api/v1/polls/{code}/tally/"):
        asked = [fetch.get(front.url + address, headers={"Cookie": cookie}) for _ in range(2)]
        first, second = (answer.headers["X-Cache"] for answer in asked)
        assert first == "MISS" and second in KEPT, address
        assert not any("Set-Cookie" in answer.headers for answer in asked)


@pytest.mark.parametrize("page", ["p/{}/", "p/{}/present/", "api/v1/polls/{}/tally/"])
def test_public_responses_are_compressed(front: Nginx, client: Client, page: str) -> None:
    address = (
        f"{front.url}/{page.format(client.make_poll(choices=['A choice that is long'] * 1 + list('XYZ')))}"
    )
    plain = fetch.get(address, headers={"Accept-Encoding": "identity"})
    small = fetch.get(address, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert plain.content == small.content
    if len(plain.content) >= 1000:
        assert small.headers["Content-Encoding"] == "gzip"
    same = fetch.get(address, headers={"If-None-Match": small.headers["ETag"], "Accept-Encoding": "gzip"})
    assert same.status_code == 304


@pytest.mark.parametrize("page", ["", "admin/login/", "accounts/login/", "nowhere/", "?code=echo"])
def test_responses_with_secrets_are_not_compressed(front: Nginx, page: str) -> None:
    answer = fetch.get(f"{front.url}/{page}", headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in answer.headers


# --- limits ---


def test_too_large_body_gets_landslides_413(front: Nginx, client: Client) -> None:
    voter = http_client(base_url=front.url, headers={"Content-Type": "application/json"})
    for path, limit in (("ballots", settings.CAST_MAX_BYTES), ("ballots/batch", settings.BATCH_MAX_BYTES)):
        address = f"/api/v1/polls/{client.make_poll()}/{path}/"
        # A body that just fits reaches Landslide, which refuses it for another reason.
        assert voter.post(address, content=b" " * limit).status_code == 401
        assert_problem(voter.post(address, content=b" " * (limit + 1)), TooLarge())


def test_cache_key_has_all_languages() -> None:
    block = re.search(r"map \$http_accept_language \$language \{(.*?)\}", SHIPPED_NGINX.read_text(), re.S)
    assert block
    known = re.findall(r"(\w+);", block[1])
    assert known == [code for code, _ in settings.LANGUAGES], (
        "pages in a missing language would be cached for all"
    )


# --- logs ---


def test_access_log_has_no_ballots(front: Nginx, client: Client) -> None:
    code = client.make_poll()
    voter = new_voter(front.url, code)
    receipt = voter.post(f"/api/v1/polls/{code}/ballots/", json={"selections": [1]}).json()["receipt"]
    assert voter.get(f"/api/v1/receipts/{receipt}/").status_code == 200
    voter.get(f"/api/v1/receipts/{receipt}", follow_redirects=False)
    for mangled in (f"/p/{code}%23i=token42", f"/p/{code}/%23i=token42"):
        assert voter.get(mangled, follow_redirects=False).headers["Location"] == f"/p/{code}/#i=token42"
    voter.get(f"/p/{code}/?last=1")
    wait_for(lambda: f"/p/{code}/?last=1" in front.access_log.read_text(), what="the access log")
    assert f"/api/v1/polls/{code}/voter/" in front.access_log.read_text()
    assert f"/api/v1/polls/{code}/ballots/" not in front.access_log.read_text()
    assert receipt not in front.access_log.read_text()
    assert "token42" not in front.access_log.read_text()
