"""Find or install the programs that the tests need: PostgreSQL, Redis, nginx, Chromium, promtool, C compiler.

`python -m tests.install` installs the missing ones from Debian's packages, as root or with a sudo that needs
no password. Without these rights it says what to install, and fails.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: The headless shell comes first, since it loads a page in half the time.
CHROMIUM_NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
CHROMIUM_PLACES = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)


def postgresql_bin() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, which Debian keeps off PATH."""
    debian = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if debian:
        return max(debian, key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def redis_server() -> Path | None:
    found = shutil.which("redis-server")
    return Path(found) if found else None


def nginx() -> Path | None:
    """Return the path of nginx, which Debian keeps in /usr/sbin, off an ordinary user's PATH."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def chromium() -> Path | None:
    for name in CHROMIUM_NAMES:
        if found := shutil.which(name):
            return Path(found)
    return next((place for place in CHROMIUM_PLACES if place.exists()), None)


def promtool() -> Path | None:
    """Find Prometheus' checker of metrics."""
    found = shutil.which("promtool")
    return Path(found) if found else None


def c_compiler() -> Path | None:
    """Find a C compiler for tests/faults/wrong_clock.c, which sets a program's clock wrong."""
    found = shutil.which("cc") or shutil.which("gcc")
    return Path(found) if found else None


@dataclass(frozen=True)
class Need:
    name: str
    find: Callable[[], Path | None]
    packages: tuple[str, ...]  # "a|b": install the first that the distribution has


NEEDS = (
    Need("PostgreSQL", postgresql_bin, ("postgresql",)),
    Need("Redis", redis_server, ("redis-server",)),
    Need("nginx", nginx, ("nginx",)),
    # Chromium needs a font to draw text, but its package only recommends one.
    Need("Chromium", chromium, ("chromium-headless-shell|chromium", "fonts-liberation")),
    Need("promtool", promtool, ("prometheus",)),
    Need("a C compiler", c_compiler, ("gcc", "libc6-dev")),
)


def missing(needs: Sequence[Need] = NEEDS) -> list[Need]:
    return [need for need in needs if need.find() is None]


def privilege() -> list[str] | None:
    """Return the prefix that makes a command run as root, or None if that needs a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:
        return [sudo, "-n"]
    return None


def apt_get(prefix: list[str], *arguments: str) -> None:
    # Set the variable in the command, since sudo doesn't pass on the environment.
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")


def available(package: str) -> str:
    for name in package.split("|"):
        if subprocess.run(["apt-cache", "show", name], capture_output=True).returncode == 0:
            return name
    return name


def ensure(needs: Sequence[Need] = NEEDS, who: str = "The tests") -> None:
    lacking = missing(needs)
    if not lacking:
        return
    names = ", ".join(need.name for need in lacking)
    packages = [package for need in lacking for package in need.packages]
    prefix = privilege() if shutil.which("apt-get") else None
    if prefix is None:
        sys.exit(
            f"{who} need {names}, not found on this machine.\n"
            "On Debian and Ubuntu: sudo apt-get install --no-install-recommends"
            f" {' '.join(package.rpartition('|')[2] for package in packages)}"
        )
    print(f"Installing {names} from the distribution's packages (about a minute) ...", flush=True)
    apt_get(prefix, "update")
    packages = [available(package) for package in packages]
    apt_get(prefix, "install", "--no-install-recommends", *packages)
    if still := missing(needs):
        sys.exit(f"Installed {' '.join(packages)}, but found no {', '.join(need.name for need in still)}.")


if __name__ == "__main__":
    ensure()
