"""The steps of docs/first-poll.md work, and it shows the pictures that `make pictures` takes of them."""

import re
from typing import Any

import pytest

from tests.docs.first_poll import DESK, PHONE, FirstPoll
from tests.e2e.clients import Client
from tests.system import ROOT, Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_every_step_of_the_page_works_and_has_its_picture(shared_embedded: Landslide, visitor: Any) -> None:
    shown: list[str] = []
    FirstPoll(
        url=shared_embedded.url,
        password=shared_embedded.admin_password,
        client=Client(shared_embedded),
        desk=visitor(**DESK).page,
        screen=visitor(**DESK).page,
        phones=(visitor(**PHONE).page, visitor(**PHONE).page),
        show=lambda name, _page: shown.append(name),
    ).walk()
    page = (ROOT / "docs" / "first-poll.md").read_text()
    assert re.findall(r"images/first-poll/([\w-]+)\.png", page) == shown
