"""The peers. Each peer has its own folder, and a measure starts the peer in its own processes.

If a folder has a package.json, its npm packages are installed by package-lock.json into .venv, and again when
that file changes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent
INSTALLED = Path(sys.prefix) / "peers"


def install(name: str) -> Path:
    """Return the folder that peer `name` runs from."""
    source = SOURCES / name
    if not (source / "package.json").exists():
        return source
    target = INSTALLED / name
    lock = (source / "package-lock.json").read_bytes()
    current = target / "node_modules" / ".installed-from"
    if not current.exists() or current.read_bytes() != lock:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        _npm_ci(target)
        current.write_bytes(lock)
    for file in source.iterdir():
        if file.is_file():
            shutil.copy2(file, target)
    return target


def _npm_ci(folder: Path) -> None:
    command = ["npm", "ci", "--no-audit", "--no-fund", "--omit=dev", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"npm ci for {folder.name} failed:\n{done.stderr[-2000:]}")
