"""Open every page in a real browser under its Content-Security-Policy.

The policy must not block anything that a page needs, and must block what an attacker could inject.
"""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import wait_until
from tests.e2e.admin_login import enrol, give_password, log_in
from tests.e2e.clients import Client

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

VIEWS = ("", "results/", "present/", "receipt/")
#: Chromium reports each policy violation to the page. This script passes it to the test, since the page
#: forgets it at the next page load.
WATCH = """
document.addEventListener("securitypolicyviolation", (event) => {
  window.reportViolation(`${event.effectiveDirective} ${event.blockedURI} on ${location.pathname}`);
});
"""

#: JavaScript that returns the controls that are smaller than WCAG 2.5.8 requires.
SMALL_TARGETS = """
[...document.querySelectorAll("a, button, input, select, textarea, summary")].filter((element) => {
  const { width, height } = element.getBoundingClientRect();
  return element.tabIndex >= 0 && width > 1 && height > 1 && Math.min(width, height) < 24;
}).map((element) => element.outerHTML.slice(0, 200))
"""


@pytest.fixture(scope="module")
def running(shared_embedded: Any) -> tuple[Any, Client]:
    return shared_embedded, Client(shared_embedded)


def watched(person: Any) -> tuple[Page, list[str]]:
    violations: list[str] = []
    person.context.expose_function("reportViolation", lambda text: violations.append(text))
    person.context.add_init_script(WATCH)
    return person.page, violations


def test_the_policy_blocks_nothing_that_public_pages_need(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    draft = client.make_poll(open=False)
    done = client.make_poll()
    client.cast(done, "ann", [1])
    client.step(done, "close")
    person = visitor(tolerated=("404",))
    page, violations = watched(person)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    paths = ["/", "/?code=NOSUCH", "/p/NOSUCH/", "/nowhere/"]
    paths += [f"/p/{code}/{view}" for view in VIEWS]
    # The pages look different before opening and after closing.
    paths += [f"/p/{draft}/", f"/p/{draft}/present/", f"/p/{done}/", f"/p/{done}/results/"]
    for path in paths:
        visit(page, system.url + path)
    expect(page.locator("#stage, main").first).to_be_visible()

    # The policy must also allow what the scripts do later: voting, live results, switching the theme.
    page.goto(f"{system.url}/p/{code}/")
    page.get_by_text("Bee").click()
    page.get_by_role("button", name="Cast my ballot").click()
    expect(page.locator("#cast-title")).to_be_visible()
    page.locator("[data-theme-switch]").click()
    read_the_docs(page, system)
    assert violations == []
    assert [text for text in said if "header" in text] == [], "the browser complains about a header"
    # Everything was loaded from this server.
    assert len(asked) > 50
    assert [url for url in asked if not url.startswith((system.url, "data:", "blob:"))] == []


def visit(page: Page, address: str) -> None:
    answer = page.goto(address)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in f"{policy};", address
    assert "frame-ancestors 'none'" in policy
    assert "camera=()" in answer.headers["permissions-policy"]
    page.wait_for_load_state()


def read_the_docs(page: Page, system: Any) -> None:
    visit(page, f"{system.url}/api/docs/")
    page.get_by_text("Cast many ballots").wait_for()
    page.get_by_text("Polls, newest first").click()
    expect(page.locator(".opblock-body").first).to_be_visible()
    page.get_by_text("invalid_key").first.wait_for()
    visit(page, f"{system.url}/api/errors/#too_large")
    page.locator("#too_large:target").wait_for()


def test_the_policy_blocks_nothing_that_admin_pages_need(running: Any, visitor: Any) -> None:
    system, client = running
    code = client.make_poll()
    client.cast(code, "ann", [1])
    person = visitor()
    page, violations = watched(person)
    log_in(page, system)
    expect(page.locator("[data-list=workers] li").first).to_contain_text("alive")
    paths = [
        "", f"polls/poll/?q={code}", "polls/poll/add/", "polls/deadletter/", "polls/apiclient/add/",
        "auth/user/", "auth/user/add/", "auth/user/1/change/", "auth/user/1/password/",
        "auth/user/1/history/", "auth/group/add/", "password_change/",
    ]  # fmt: skip
    for path in paths:
        answer = page.goto(f"{system.url}/admin/{path}")
        assert answer is not None and answer.status == 200, path
        policy = answer.headers["content-security-policy"]
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        page.wait_for_load_state()
        expect(page.get_by_role("main")).to_be_visible()
        assert page.evaluate(SMALL_TARGETS) == [], path
    page.goto(f"{system.url}/admin/polls/poll/")
    page.get_by_role("link", name=code).click()
    expect(page.locator("[data-ballots]")).to_have_text("1")
    page.get_by_role("button", name="Close voting").click()
    expect(page.locator(".ls-lines")).to_be_visible()
    page.get_by_role("button", name="Close voting").click()
    # The page updates by itself until the poll is closed.
    expect(page.get_by_role("button", name="Publish the result")).to_be_visible()
    expect(page.locator("#poll-tally tbody tr").first).to_contain_text("Winner")

    # The second factor's pages: set it up, log in with it, and turn it off.
    page.goto(f"{system.url}/admin/two-factor/setup/")
    codes = enrol(page)
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("link", name="I have saved them").click()
    for path in ("", "recovery-codes/"):
        page.goto(f"{system.url}/admin/two-factor/{path}")
    page.get_by_role("link", name="No, go back").click()
    other, more = watched(visitor(tolerated=("429",)))
    give_password(other, system)
    other.fill("#id_code", codes[0])
    other.keyboard.press("Enter")
    expect(other.locator("[data-card=backlog]")).to_be_visible()
    page.get_by_role("link", name="Turn it off").click()
    page.fill("#id_password", system.admin_password)
    page.get_by_role("button", name="Turn it off").click()
    expect(page.locator(".ls-tag")).to_have_text("Off")
    assert violations == more == []


def test_injected_scripts_do_not_run(running: Any, visitor: Any) -> None:
    """The policy blocks inline scripts, event handlers, and files from other hosts."""
    system, _ = running
    person = visitor(tolerated=("Content Security Policy", "Trusted", "trusted", "ERR_BLOCKED_BY_CSP"))
    page, violations = watched(person)
    # On public pages, Trusted Types block a script before script-src is checked.
    for path, policy in (("/", "require-trusted-types-for"), ("/admin/login/", "script-src")):
        page.goto(system.url + path)
        page.evaluate(
            """() => {
              const script = document.createElement("script");
              try { script.text = "window.ran = true"; document.body.append(script) } catch {}
              const button = document.createElement("button");
              try { button.setAttribute("onclick", "window.ran = true"); button.click() } catch {}
              const far = document.createElement("script");
              try { far.src = "https://evil.example/x.js"; document.body.append(far) } catch {}
              const image = document.createElement("img");
              image.src = "https://evil.example/pixel";
              document.body.append(image);
            }"""
        )
        expect(page.locator("img[src*=evil]")).to_have_count(1)
        assert page.evaluate("window.ran") is None
        for stopped in (policy, "img-src https://evil.example"):
            wait_until(
                page,
                lambda stopped=stopped, path=path: any(
                    each.startswith(stopped) and each.endswith(f" on {path}") for each in violations
                ),
                f"{stopped} on {path} to be reported: {violations}",
            )
