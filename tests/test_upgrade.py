"""This version reads and counts what the last released one left in its stores (tests/upgrade/make.py)."""

import base64
import json
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.analytics.audit_bundles import run_verifier
from tests.servers import Redis, started
from tests.system import ROOT, bare_environment

pytestmark = [pytest.mark.slow, pytest.mark.full_only]

STORES = Path(__file__).parent / "upgrade"


def run(env: dict[str, str], *command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unpack(name: str, home: Path) -> dict[str, bytes]:
    """Write a database and the keys of the installation into its data folder; return the other files."""
    with zipfile.ZipFile(STORES / f"{name}.zip") as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    with sqlite3.connect(home / "landslide.sqlite3") as database:
        database.executescript(files["database.sql"].decode())
    for each, content in files.items():
        if each.startswith("data/"):
            (home / Path(each).name).write_bytes(content)
            (home / Path(each).name).chmod(0o600)
    return files


def look(home: Path, files: dict[str, bytes], **settings: str) -> dict[str, Any]:
    env = bare_environment(home, DATA_DIR=str(home), SECRET_KEY="upgraded", **settings)
    printed = run(env, "-m", "tests.upgrade.look", files["receipts.json"].decode())
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


@pytest.mark.parametrize("log", ["database", "redis"])
def test_an_upgraded_installation_counts_on(log: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    files = unpack(log, tmp_path)
    if log == "database":
        found = look(tmp_path, files, VOTE_LOG=log)
    else:
        redis = Redis()
        with started(redis):
            with redis.client() as client:
                for key, value in json.loads(files["redis.json"]).items():
                    client.restore(base64.b64decode(key), 0, base64.b64decode(value))
            found = look(tmp_path, files, VOTE_LOG=log, REDIS_URL=redis.url())
    assert found == {
        "before": {
            "counted": "counted",
            "replaced": "replaced",
            "quarantined": "quarantined",
            "waiting": "accepted",
        },
        "after": {
            "counted": "counted",
            "replaced": "replaced",
            "quarantined": "quarantined",
            "waiting": "counted",
        },
        "counted": 5,
        "appended": {
            "again": ["accepted", True],
            "twice": ["already_voted", False],
            "new": ["accepted", False],
        },
        "ballots": 36,
        "votes": [21, 14, 1],
        "quarantined": [0, 0, 12],
        "dead_letters": ["1,2", "9", "x"],
        "drifted": 0,
        "done": [16, 16, 8],
        "states": ["closed", "published"],
    }


@pytest.mark.parametrize("log", ["database", "redis"])
def test_an_old_bundle_is_consistent(log: str, tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(unpack(log, tmp_path)["bundle.zip"])
    answer = run_verifier(tmp_path / "bundle.zip")
    assert answer.code == 3, answer.said
    assert "won ->          16  Tea" in answer.said
