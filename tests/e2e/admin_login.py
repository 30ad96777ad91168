"""Log in to the admin of a running system in a browser, with a second factor if the system requires one."""

import time
from base64 import b32decode
from typing import Any

from django_otp.oath import TOTP
from playwright.sync_api import Page, expect

#: The recovery codes that each system has shown. Later logins use these, since a code of the app works only
#: once.
kept: dict[str, list[str]] = {}


def log_in(page: Page, system: Any) -> None:
    give_password(page, system)
    expect(page.locator("[data-card=backlog], #id_code")).to_be_visible()
    if "/two-factor/setup/" in page.url:
        kept[system.url] = enrol(page)
        page.get_by_role("link", name="I have saved them").click()
    elif "/two-factor/code/" in page.url:
        page.fill("#id_code", kept[system.url].pop())
        page.keyboard.press("Enter")
    expect(page.locator("[data-card=backlog]")).to_have_attribute("data-tone", "good")


def give_password(page: Page, system: Any, password: str = "") -> None:
    page.goto(f"{system.url}/admin/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", password or system.admin_password)
    page.keyboard.press("Enter")


def enrol(page: Page) -> list[str]:
    """Set up the second factor by typing the key. Return the recovery codes."""
    page.get_by_text("I can't scan it").click()
    page.fill("#id_code", code_for(page.locator(".ls-pre").inner_text()))
    page.keyboard.press("Enter")
    return page.locator("#recovery-codes").input_value().splitlines()


def code_for(key: str) -> str:
    """Return the code that an authenticator app shows for this key."""
    totp = TOTP(b32decode(key.replace(" ", "")))
    totp.time = time.time()
    return f"{totp.token():06}"
