"""Addresses and headers of the requests that tests send through nginx."""

import itertools
from collections.abc import Callable

from tests.deploy.upstream import Upstream
from tests.servers import Nginx

CAST, BATCH = "/api/v1/polls/DEMO/ballots/", "/api/v1/polls/DEMO/ballots/batch/"
TALLY, VOTER, STREAM = (f"/api/v1/polls/DEMO/{name}/" for name in ("tally", "voter", "stream"))
PAGE, STATIC, SOCKET = "/p/DEMO/", "/static/js/vote/vote.js", "/ws/polls/DEMO/"
EVERYWHERE = [CAST, BATCH, TALLY, VOTER, STREAM, PAGE, STATIC, "/", SOCKET]
UPGRADE = {"Connection": "upgrade", "Upgrade": "websocket"}
BALLOT = {"selections": [1]}
PUBLIC, KEPT = "public, max-age=1, stale-while-revalidate=10", "public, max-age=600"

Before = Callable[..., Nginx]
Pair = tuple[Upstream, Nginx]

numbers = itertools.count()


def fresh(address: str) -> str:
    """Return a variant of the address that hasn't been requested before."""
    number = next(numbers)
    return address.replace("DEMO", f"DEMO{number}").replace("vote.js", f"vote{number}.js")
