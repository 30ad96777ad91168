import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.running import Run
from tests.system import ROOT

SITE = "http://localhost/"
KINDS = {".js": "text/javascript", ".css": "text/css"}


@pytest.fixture(scope="module")
def run(chromium: Any) -> Iterator[Run]:
    """Run functions in one empty page that imports unbundled modules. A query string loads a module again."""
    # Not at the top: they need Django's settings, which aren't set up yet when pytest loads this file.
    from polls.pages import script_messages
    from realtime.pages.script_messages import PRESENT

    page = chromium.new_page(locale="en-GB")
    catalogue = json.dumps(script_messages.catalogue(script_messages.COMMON, script_messages.VOTE, PRESENT))
    blank = f'<!doctype html><html lang="en"><script type="application/json" id="texts">{catalogue}</script>'

    def serve(route: Any) -> None:
        name = route.request.url.removeprefix(SITE).partition("?")[0]
        file = ROOT / "static" / name
        if name and file.is_file():
            route.fulfill(body=file.read_bytes(), content_type=KINDS[Path(name).suffix])
        else:
            route.fulfill(body=blank, content_type="text/html")

    page.route("**/*", serve)
    page.goto(SITE)

    def call(module: str, function: str, argument: Any = None) -> Any:
        body = f"async (given) => ({function})(await import('/js/{module}'), given)"
        return page.evaluate(body, argument)

    yield call
    page.close()
