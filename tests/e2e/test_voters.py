"""Who may vote, in a real browser: accounts and invites, on phones and on several devices."""

import csv
import io
import json
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.sync_api import expect

from tests.e2e.clients import Client

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
PASSWORD = "a-long-enough-one"
ACCOUNT = """
INSERT INTO auth_user
  (username, password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined)
VALUES (%s, %s, false, '', '', '', false, true, now()) RETURNING id
"""


@pytest.fixture(scope="module")
def with_accounts(shared_full: Any) -> Any:
    system = shared_full
    password = PBKDF2PasswordHasher().encode(PASSWORD, "salt")
    for name in ("anna", "bert"):
        assert system.query(ACCOUNT, name, password)
    return system


def invites(client: Client, code: str, count: int) -> list[str]:
    made = client.http.post(f"/api/v1/polls/{code}/invites/", json={"count": count}).json()
    rows = csv.reader(io.StringIO(client.http.get(made["links"]).text))
    return [link for _, link in rows][1:]


def votes(client: Client, code: str, ballots: int) -> list[int]:
    tally = client.tally_when(code, lambda tally: tally.get("ballots") == ballots)
    return [choice["votes"] for choice in tally["choices"]]


def sign_in(page: Any, name: str) -> None:
    page.get_by_role("link", name="Sign in to vote").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/p/**")
    expect(page.locator("#who-words")).to_contain_text(f"Signed in as {name}")


def cast(page: Any, label: str) -> None:
    page.locator("label.choice", has_text=label).click()
    page.get_by_role("button", name="Cast my ballot").click()
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")


def test_an_account_votes_once_and_leaves_nothing_on_a_shared_device(
    with_accounts: Any, visitor: Any
) -> None:
    system, client = with_accounts, Client(with_accounts)
    code = client.make_poll(identity="login", results_visible="after_vote")
    phone, laptop = visitor(**PHONE).page, visitor().page

    phone.goto(f"{system.url}/p/{code}/")
    expect(phone.locator("#cast-title")).to_have_text("This poll is for people with an account")
    sign_in(phone, "anna")
    cast(phone, "Bee")
    expect(phone.locator("label.choice", has_text="Bee")).to_contain_text("100")  # visible after voting

    laptop.goto(f"{system.url}/p/{code}/")
    sign_in(laptop, "anna")
    expect(laptop.locator("#cast-title")).to_contain_text("Your ballot is in")
    expect(laptop.locator("#receipt-code")).to_have_value(phone.locator("#receipt-code").input_value())
    expect(laptop.locator("label.choice", has_text="Bee")).to_contain_text("100")
    assert laptop.locator("input:checked").count() == 0  # the server never sends a ballot's selection

    # The next voter uses the same phone.
    phone.locator("#sign-out").click()
    phone.get_by_role("button", name="Sign out").click()
    phone.wait_for_url("**/p/**")
    expect(phone.locator("#cast-title")).to_have_text("This poll is for people with an account")
    expect(phone.locator("label.choice", has_text="Bee")).not_to_contain_text("100")
    assert phone.locator("input:checked").count() == 0
    assert "selections" not in phone.evaluate("JSON.stringify(Object.entries(localStorage))")
    sign_in(phone, "bert")
    cast(phone, "Cat")
    client.step(code, "close")
    assert votes(client, code, 2) == [0, 1, 1]


def test_an_unsent_ballot_is_sent_only_when_its_voter_is_signed_in(with_accounts: Any, visitor: Any) -> None:
    """A ballot cast offline is kept while another voter is signed in, and sent once its voter is back."""
    system, client = with_accounts, Client(with_accounts)
    code = client.make_poll(identity="login")
    person = visitor(tolerated=("net::", "WebSocket"), **PHONE)
    page = person.page
    page.goto(f"{system.url}/p/{code}/")
    sign_in(page, "anna")
    page.route("**/ballots/", lambda route: route.abort("failed"))
    page.locator("label.choice", has_text="Ant").click()
    page.get_by_role("button", name="Cast my ballot").click()
    expect(page.locator("#cast")).to_contain_text("kept here")
    page.locator("#sign-out").click()
    page.get_by_role("button", name="Sign out").click()
    page.unroute("**/ballots/")
    page.wait_for_url("**/p/**")
    sign_in(page, "bert")
    cast(page, "Cat")
    assert votes(client, code, 1) == [0, 0, 1]
    page.locator("#sign-out").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/p/**")
    sign_in(page, "anna")
    expect(page.locator("#cast-title")).to_contain_text("Your ballot is in")
    assert votes(client, code, 2) == [1, 0, 1]


def test_an_invite_votes_once_on_any_device(shared_daphne: Any, visitor: Any) -> None:
    system = shared_daphne
    client = Client(system)
    code = client.make_poll(identity="invite", results_visible="after_vote")
    first, second = invites(client, code, 2)
    phone, laptop = visitor(**PHONE).page, visitor().page
    sent: list[str] = []
    phone.on("request", lambda request: sent.append(f"{request.url} {json.dumps(request.headers)}"))

    phone.goto(f"{system.url}/p/{code}/")
    expect(phone.locator("#cast-title")).to_have_text("You need an invite to vote")
    phone.goto(first)
    expect(phone.locator("#who-words")).to_contain_text("Invite accepted")
    assert phone.url == f"{system.url}/p/{code}/"
    cast(phone, "Bee")
    expect(phone.locator("label.choice", has_text="Bee")).to_contain_text("100")
    token = first.partition("#i=")[2]
    with_it = [line for line in sent if token in line]
    assert with_it
    assert all("/voter/ " in line and f'"voter-invite": "{token}"' in line for line in with_it)
    phone.reload()
    expect(phone.locator("#cast-title")).to_contain_text("Your ballot is in")
    expect(phone.locator("label.choice", has_text="Bee").locator("input")).to_be_checked()

    asked: list[str] = []
    laptop.on("request", lambda request: asked.append(request.url))
    laptop.goto(system.url)
    laptop.get_by_role("textbox").fill(f"Your link: {first}")
    laptop.keyboard.press("Enter")
    expect(laptop.locator("#cast-title")).to_contain_text("This invite's ballot is in")
    assert laptop.url == f"{system.url}/p/{code}/"
    assert [url for url in asked if token in url] == []
    assert laptop.locator("input:checked").count() == 0
    expect(laptop.locator("label.choice", has_text="Bee")).to_contain_text("100")
    laptop.goto(second)  # the same page with another fragment, so the browser loads nothing
    cast(laptop, "Cat")
    laptop.goto(f"{system.url}/p/{code}/#i=nonsense")
    expect(laptop.locator("#cast-title")).to_contain_text("Your ballot is in")
    assert client.tally(code)["visible"] is False  # for viewers who haven't voted


def test_an_expired_pass_is_renewed_and_the_ballot_sent_again(shared_daphne: Any, visitor: Any) -> None:
    system = shared_daphne
    client = Client(system)
    code = client.make_poll(identity="invite")
    (link,) = invites(client, code, 1)
    person = visitor(tolerated=("403",), **PHONE)
    page, ballots = person.page, []
    page.on(
        "request",
        lambda request: request.url.endswith("/ballots/") and ballots.append(request.post_data_json),
    )
    page.goto(link)
    expect(page.locator("#who-words")).to_contain_text("Invite accepted")
    person.context.clear_cookies(name="pass")
    cast(page, "Ant")
    assert len(ballots) == 2
    assert ballots[0]["ballot_id"] == ballots[1]["ballot_id"]
    assert votes(client, code, 1) == [1, 0, 0]


def test_the_page_says_that_an_invite_was_withdrawn(shared_daphne: Any, visitor: Any) -> None:
    system = shared_daphne
    client = Client(system)
    code = client.make_poll(identity="invite")
    (link,) = invites(client, code, 1)
    batch = client.http.get(f"/api/v1/polls/{code}/invites/").json()["batches"][0]["batch"]
    assert client.http.post(f"/api/v1/polls/{code}/invites/{batch}/revoke/").status_code == 200
    page = visitor(**PHONE).page
    page.goto(link)
    expect(page.locator("#cast-title")).to_have_text("This invite was withdrawn")
    expect(page.get_by_role("button", name="Cast my ballot")).to_be_hidden()


def test_an_invite_whose_link_was_cut_off_can_be_pasted(shared_daphne: Any, visitor: Any) -> None:
    """Some mail gateways remove the part of a link after `#`."""
    system = shared_daphne
    client = Client(system)
    code, other = client.make_poll(identity="invite"), client.make_poll(identity="invite")
    (link,), (foreign,) = invites(client, code, 1), invites(client, other, 1)
    page = visitor(**PHONE).page
    page.goto(link[:-4])
    title, field, error = (page.locator(name) for name in ("#cast-title", "#invite-field", "#invite-error"))
    expect(title).to_have_text("This invite is cut off")
    page.goto(link.partition("#")[0])
    for pasted, refusal in {
        "": "Paste your invite first",
        page.url: "This link has no invite in it",
        link[:-1]: "this one has 31",
        foreign: f"another poll, {other}",
    }.items():
        field.fill(pasted)
        page.keyboard.press("Enter")
        expect(error).to_contain_text(refusal)
    field.fill(foreign.partition("#i=")[2])
    page.keyboard.press("Enter")
    expect(title).to_have_text("This invite is not valid here")
    field.fill(link.partition("#i=")[2])
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#who-words")).to_contain_text("Invite accepted")
    expect(field).to_be_hidden()
    cast(page, "Bee")


def test_a_poll_with_client_identity_can_only_be_watched_in_the_browser(
    shared_daphne: Any, visitor: Any
) -> None:
    system = shared_daphne
    client = Client(system)
    code = client.make_poll(identity="client")
    page = visitor(**PHONE).page
    page.goto(f"{system.url}/p/{code}/")
    expect(page.locator("#cast-title")).to_have_text("Voting happens in another app")
    assert client.cast(code, "seat-1", [3]).status_code == 202
    expect(page.locator("label.choice", has_text="Cat")).to_contain_text("100")
