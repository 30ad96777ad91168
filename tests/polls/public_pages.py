"""Fetching and checking public pages."""

import re
from functools import cache
from posixpath import dirname, join, normpath
from typing import Any

from django.test import Client

from analytics.models import Tally
from polls.models import Poll
from tests.system import ROOT

SCRIPTS = ROOT / "static" / "js"
POLL_PAGES = ("", "results/", "present/")
#: A figure that is easy to find in a page's source.
TELLTALE = 48_611


def see(path: str, client: Client | None = None, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return (client or Client()).get(path, headers=sent)


def html(path: str) -> str:
    answer = see(path)
    assert answer.status_code == 200
    return answer.content.decode()


def count(poll: Poll, ballots: int = TELLTALE) -> None:
    """Store a tally in which all ballots are for the first choice."""
    for key in ("ballots", "1"):
        Tally.objects.create(
            poll_id=poll.pk, round=poll.round, key=key, partition=0, count=ballots, changes=1
        )


def check_policy(source: str) -> None:
    """Check that a strict Content-Security-Policy allows everything in the page."""
    tags = re.findall(r"<[a-z][^>]*>", source)
    assert [tag for tag in tags if re.search(r"\s(style|on\w+)=", tag)] == []
    scripts = [tag for tag in tags if tag.startswith("<script")]
    assert [tag for tag in scripts if " src=" not in tag and "application/json" not in tag] == []
    assert "<style" not in source
    assert re.findall(r"(?:src|href|action)=\"(?:https?:)?//", source) == []


@cache
def imports(name: str) -> frozenset[str]:
    """Return the modules that a module imports, directly or indirectly."""
    addresses = re.findall(r"(?:from|import) \"(\.[\w./-]+)\.js\"", (SCRIPTS / f"{name}.js").read_text())
    direct = [normpath(join(dirname(name), address)) for address in addresses]
    return frozenset(direct).union(*(imports(other) for other in direct))
