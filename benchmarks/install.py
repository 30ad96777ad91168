"""Install what the benchmarks need in addition to the tests: the peers."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests import install
from tests.install import Need


def program(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def nchan() -> Path | None:
    """Return the path of the nginx module, where Debian installs it."""
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
