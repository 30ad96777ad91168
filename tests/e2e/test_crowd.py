"""The audience that comes with Landslide, sent to a real system that has a bad day."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from tests import fetch
from tests.servers import PATIENCE
from tests.system import ROOT, Landslide

COUNT = "SELECT COUNT(*) FROM polls_ballot JOIN polls_poll ON poll_id = polls_poll.id WHERE code = 'DEMO'"

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def system(shared_embedded: Landslide) -> Landslide:
    return shared_embedded


def crowd(system: Landslide, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "crowd", "DEMO", *arguments],
        cwd=ROOT,
        env=system.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ballots(system: Landslide) -> int:
    """In the ledger, by nobody's word but the database's."""
    return int(system.query(COUNT)[0][0])


def tally(system: Landslide) -> Any:
    return json.loads(fetch.get(f"{system.url}/api/v1/polls/DEMO/tally/").content)


def test_a_crowd_outlives_a_server_that_is_killed(system: Landslide) -> None:
    before = ballots(system)
    running = crowd(system, "--voters", "120", "--rate", "30")
    while tally(system)["ballots"] < before + 20:
        time.sleep(0.05)
    system.kill()
    system.start()
    printed, _ = running.communicate(timeout=4 * PATIENCE)
    assert running.returncode == 0, printed
    assert "All 120 acknowledged ballots are counted." in printed
    assert ballots(system) == tally(system)["ballots"] == before + 120


def test_ctrl_c_ends_with_a_summary(system: Landslide) -> None:
    before = ballots(system)
    running = crowd(system, "--voters", "5000", "--rate", "20")
    deadline = threading.Timer(60, running.kill)
    deadline.start()
    while tally(system)["ballots"] < before + 10:
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGINT)
    printed, _ = running.communicate(timeout=2 * PATIENCE)
    deadline.cancel()
    assert running.returncode == 0, printed
    counted = ballots(system) - before
    assert 10 <= counted < 5000
    assert f"All {counted} acknowledged ballots are counted." in printed
    assert "Traceback" not in printed
