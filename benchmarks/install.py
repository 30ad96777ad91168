"""Install the peers, which the benchmarks need in addition to the packages of the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests import install
from tests.install import Need


def program(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def nchan() -> Path | None:
    """Return the path where Debian installs the nginx module."""
    places = [*Path("/usr/lib/nginx/modules").glob("ngx_nchan_module.so")]
    return places[0] if places else None


NEEDS = (
    *install.NEEDS,
    Need("Node.js", lambda: program("node"), ("nodejs",)),
    Need("npm", lambda: program("npm"), ("npm",)),
    Need("nchan", nchan, ("libnginx-mod-nchan",)),
)


def ensure() -> None:
    install.ensure(NEEDS, "The benchmarks")
