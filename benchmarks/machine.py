"""Describe the machine and the versions, since figures of one machine say little about another machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peers import SOURCES
from tests import install

PACKAGES = (
    "Django", "djangorestframework", "channels", "channels-redis", "celery", "daphne", "uvicorn", "uvloop",
    "httptools", "websockets", "msgspec", "redis", "hiredis", "psycopg",
)  # fmt: skip
NUMBER = re.compile(r"\d+(\.\d+)+")


def machine() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "CPU": _cpu_model(),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found |= {name: number for name, command in _programs() if (number := _version(command))}
    return found | _npm_packages()


def _programs() -> list[tuple[str, list[str]]]:
    postgresql = install.postgresql_bin()
    return [
        ("PostgreSQL", [str(postgresql / "postgres") if postgresql else "postgres", "--version"]),
        ("Redis", ["redis-server", "--version"]),
        ("Node.js", ["node", "--version"]),
        ("nginx", ["nginx", "-v"]),
    ]


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    found = NUMBER.search(done.stdout + done.stderr)
    return found[0] if found else ""


def _npm_packages() -> dict[str, str]:
    needs = (json.loads(path.read_text())["dependencies"] for path in sorted(SOURCES.glob("*/package.json")))
    return {name: number for each in needs for name, number in each.items()}
