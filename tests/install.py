"""What the tests need beside Python: PostgreSQL, Redis and Chromium.

`python -m tests.install` uses what the machine has, installs the rest from Debian's packages where it may
(as root, or by a sudo that asks nothing), and otherwise says what to install and fails.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_PLACES = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)


def postgresql_bin() -> Path | None:
    """The folder of the newest PostgreSQL; Debian keeps its server programs off PATH."""
    debian = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if debian:
        return max(debian, key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def redis_server() -> Path | None:
    found = shutil.which("redis-server")
    return Path(found) if found else None


def chromium() -> Path | None:
    for name in CHROMIUM_NAMES:
        if found := shutil.which(name):
            return Path(found)
    return next((place for place in CHROMIUM_PLACES if place.exists()), None)


@dataclass(frozen=True)
class Need:
    name: str
    find: Callable[[], Path | None]
    packages: tuple[str, ...]


NEEDS = (
    Need("PostgreSQL", postgresql_bin, ("postgresql",)),
    Need("Redis", redis_server, ("redis-server",)),
    # Without a font Chromium draws no letters, and it only recommends one.
    Need("Chromium", chromium, ("chromium", "fonts-liberation")),
)


def missing() -> list[Need]:
    return [need for need in NEEDS if need.find() is None]


def privilege() -> list[str] | None:
    """What to put before a command so that it runs as root; None where that needs a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:
        return [sudo, "-n"]
    return None


def apt_get(prefix: list[str], *arguments: str) -> None:
    # In the command, not in its environment: sudo passes none on.
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")


def ensure() -> None:
    needs = missing()
    if not needs:
        return
    names = ", ".join(need.name for need in needs)
    packages = [package for need in needs for package in need.packages]
    prefix = privilege() if shutil.which("apt-get") else None
    if prefix is None:
        sys.exit(
            f"The tests need {names}, not found on this machine.\n"
            f"On Debian and Ubuntu: sudo apt-get install --no-install-recommends {' '.join(packages)}"
        )
    print(f"Installing {names} from the distribution's packages (about a minute) ...", flush=True)
    apt_get(prefix, "update")
    apt_get(prefix, "install", "--no-install-recommends", *packages)
    if still := missing():
        sys.exit(f"Installed {' '.join(packages)}, but found no {', '.join(need.name for need in still)}.")


if __name__ == "__main__":
    ensure()
