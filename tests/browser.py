"""Chromium for tests, which fail on any error in its console."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests import install
from tests.servers import PATIENCE

ARGUMENTS = [
    "--no-sandbox",  # root can't have one, nor can many containers
    "--disable-dev-shm-usage",
    # Without a graphics card and its emulation in software a page costs a quarter less.
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--mute-audio",
    # Nothing can be loaded from other hosts, so that a page which needs that looks wrong.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

expect.set_options(timeout=1000 * PATIENCE)


@contextlib.contextmanager
def chromium(home: Path, *arguments: str) -> Iterator[Browser]:
    """Chromium with our arguments and `arguments`.

    Playwright keeps an event loop in this thread while it runs, so that neither Django's database
    nor another loop can be used here until the block is left."""
    found = install.chromium()
    assert found, "Chromium is not installed; `python -m tests.install` does that"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(found), args=[*ARGUMENTS, *arguments], env={**os.environ, "HOME": str(home)}
        )
        try:
            yield browser
        finally:
            browser.close()


def wait_until(page: Page, condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition on what the page told this process, such as its requests."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        page.wait_for_timeout(20)  # Playwright delivers events only while it waits


class Visitor:
    """One person's browser: a context with its own cookies, a page, and the errors in its console.

    `tolerated` are patterns of errors that the test provokes, such as the one Chromium logs for each 409.
    """

    def __init__(self, browser: Browser, tolerated: tuple[str, ...] = (), **options: Any) -> None:
        self.tolerated = tolerated
        self.complaints: list[str] = []
        self.context: BrowserContext = browser.new_context(**options)
        self.context.set_default_timeout(1000 * PATIENCE)
        self.context.on("weberror", lambda error: self.complaints.append(f"uncaught: {error.error}"))
        self.context.on("console", self._note)
        self.page: Page = self.context.new_page()

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def unexpected(self) -> list[str]:
        return [
            text for text in self.complaints if not any(re.search(known, text) for known in self.tolerated)
        ]

    def leave(self) -> None:
        self.context.close()
