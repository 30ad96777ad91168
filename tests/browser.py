"""Chromium for tests. A test fails on any unexpected error in its console."""

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
    "--no-sandbox",  # the sandbox works neither for root nor in many containers
    "--disable-dev-shm-usage",
    # Without a GPU and its software emulation, a page takes a quarter less CPU time.
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--mute-audio",
    # Block all other hosts, so that a page that loads something from them fails its test.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

expect.set_options(timeout=1000 * PATIENCE)


@contextlib.contextmanager
def chromium(home: Path, *arguments: str) -> Iterator[Browser]:
    """Run Chromium with ARGUMENTS and `arguments`.

    Playwright runs an event loop in this thread. Neither Django's database nor another event loop can be used
    in this thread during the block.
    """
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
    """Wait for a condition that depends on events of the page, such as its requests."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        page.wait_for_timeout(20)  # Playwright delivers events only while it waits


class Visitor:
    """One person's browser: a context with its own cookies, a page, and the errors in its console.

    `tolerated` are patterns of errors that the test causes, such as the one that Chromium logs for each 409.
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
