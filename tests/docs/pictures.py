"""Make the pictures of README.md, docs/first-poll.md and docs/design.md: `make pictures`.

It starts a server and takes screenshots of its pages. The picture of the packages is drawn from the code.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests import browser
from tests.docs import packages
from tests.docs.first_poll import DESK, PHONE, FirstPoll
from tests.e2e.clients import Client, close_all
from tests.system import ROOT, Landslide

IMAGES = ROOT / "docs" / "images"
HOST = "vote.example.org"  # the host name in the pictures; Chromium resolves it to the test server
COLOURS = 256
#: The animation in README: how many ballots each choice gets before each frame.
FRAMES = [(1, 2, 0, 3, 0), (0, 1, 2, 5, 1), (2, 1, 3, 4, 0), (1, 3, 2, 6, 1)] * 6
FRAME_MS = 160
DEMO = "DEMO"


def main() -> None:
    packages.main()
    system = Landslide(env={"ALLOWED_HOSTS": f"{HOST},127.0.0.1", "PUBLIC_URL": f"http://{HOST}"})
    with tempfile.TemporaryDirectory() as home:
        try:
            system.start()
            resolve = f"--host-resolver-rules=MAP {HOST}:80 127.0.0.1:{system.port}"
            with browser.chromium(Path(home), resolve) as chromium:
                photograph_first_poll(chromium, system)
                photograph_demo(chromium, system)
        finally:
            close_all()
            system.remove()


def photograph_first_poll(chromium: Browser, system: Landslide) -> None:
    with pages(chromium, DESK, DESK, PHONE, PHONE) as (desk, screen, *phones):
        FirstPoll(
            url=f"http://{HOST}",
            password=system.admin_password,
            client=Client(system),
            desk=desk,
            screen=screen,
            phones=(phones[0], phones[1]),
            show=lambda name, page: save(shot(page), IMAGES / "first-poll" / f"{name}.png"),
        ).walk()


def photograph_demo(chromium: Browser, system: Landslide) -> None:
    """Take README's pictures: the demo poll on a phone and on the presenter's screen, also animated."""
    client = Client(system)
    with pages(chromium, {"viewport": {"width": 800, "height": 450}}, PHONE) as (screen, phone):
        screen.goto(f"http://{HOST}/p/{DEMO}/present/")
        expect(screen.locator("#status")).to_have_attribute("data-status", "live")
        frames, seat = [shot(screen)], 0
        for votes in FRAMES:
            marks = [choice for choice, count in enumerate(votes, 1) for _ in range(count)]
            client.cast_batch(
                DEMO,
                [{"selections": [mark], "voter": f"seat-{seat + n}"} for n, mark in enumerate(marks)],
            )
            seat += len(marks)
            expect(screen.locator("#ballots b")).to_have_text(str(seat))
            frames.append(shot(screen))
        animate(frames, IMAGES / "presenter.gif")
        screen.set_viewport_size({"width": 1600, "height": 900})
        save(shot(screen), IMAGES / "presenter.png")
        phone.goto(f"http://{HOST}/p/{DEMO}/")
        phone.locator("label.choice").nth(3).click()
        phone.get_by_role("button", name="Cast my ballot").click()
        expect(phone.locator("#totals")).to_contain_text(f"{seat + 1} ballots")
        save(shot(phone), IMAGES / "voter.png")


@contextmanager
def pages(chromium: Browser, *options: dict[str, Any]) -> Iterator[list[Page]]:
    """Open one page for each of `options`, each in a context of its own, without shared cookies."""
    contexts = [chromium.new_context(**each, reduced_motion="reduce") for each in options]
    try:
        yield [context.new_page() for context in contexts]
    finally:
        for context in contexts:
            context.close()


def shot(page: Page) -> Image.Image:
    page.evaluate("document.fonts.ready")
    expect(page.locator("main.awake")).to_have_count(0)  # the presenter's controls are hidden again
    return Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide"))).convert("RGB")


def save(image: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1000:.0f} kB")


def animate(frames: list[Image.Image], file: Path) -> None:
    palette = frames[-1].quantize(COLOURS, dither=Image.Dither.NONE)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    waits = [FRAME_MS] * (len(drawn) - 1) + [2_000]
    drawn[0].save(file, save_all=True, append_images=drawn[1:], duration=waits, loop=0, optimize=True)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
