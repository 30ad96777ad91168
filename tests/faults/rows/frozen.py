"""A store hangs with all its connections open, while every kind of page is requested."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests import fetch
from tests.faults.connection_pool import HUNG_SECONDS
from tests.faults.experiment import Fault, Scene

PAGES = {
    "tally": "/api/v1/polls/{code}/tally/",
    "poll": "/api/v1/polls/{code}/",
    "voter page": "/p/{code}/",
    "/readyz": "/readyz",
    "/metrics": "/metrics",
    "admin": "/admin/login/",
}


def asked_of(store: str) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        server = scene.harness.redis if store == "Redis" else scene.harness.postgresql
        server.freeze()
        try:
            answers = _ask_all(scene)
        finally:
            server.thaw()
        scene.struck()
        late = {name: what for name, (seconds, what) in answers.items() if seconds >= HUNG_SECONDS}
        scene.expect(not late, "overdue", f"with {store} frozen: {late}")
        told = ", ".join(f"{name} {what} {seconds:.1f} s" for name, (seconds, what) in answers.items())
        scene.remark(told)
        going_on = scene.wait_for_acknowledgements()
        scene.expect(going_on, "accepting", f"nothing is accepted after {store} was frozen")
        scene.wait_current(f"after {store} was frozen")

    return strike


def _ask_all(scene: Scene) -> dict[str, tuple[float, str]]:
    def ask(path: str) -> tuple[float, str]:
        began = time.monotonic()
        try:
            answer = fetch.get(
                scene.harness.system.url + path.format(code=scene.code), timeout=2 * HUNG_SECONDS
            )
            what = str(answer.status_code)
        except httpx.HTTPError as error:
            what = type(error).__name__
        return time.monotonic() - began, what

    with ThreadPoolExecutor(len(PAGES)) as threads:
        return dict(zip(PAGES, threads.map(ask, PAGES.values()), strict=True))


ROWS = [
    Fault(
        *("frozen while pages are asked for", store, "every page answers in time", asked_of(store)),
        broken=("exceeds_time_limits",),
        found_by="overdue",
        long=True,
    )
    for store in ("Redis", "PostgreSQL")
]
