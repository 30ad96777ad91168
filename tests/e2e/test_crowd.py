"""The crowd command against a running system that is killed and restarted, or interrupted."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.clients import Client, ledger
from tests.servers import PATIENCE
from tests.system import ROOT, Landslide

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def system(shared_embedded: Landslide) -> Landslide:
    return shared_embedded


@pytest.fixture
def client(system: Landslide) -> Client:
    return Client(system)


@pytest.fixture
def code(client: Client) -> str:
    return client.make_poll()


@pytest.fixture
def crowd(system: Landslide, code: str) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """crowd("--voters", "120") starts the command for this test's poll, with these options."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "manage.py", "crowd", code, *arguments]
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        begun.append(subprocess.Popen(command, cwd=ROOT, env=system.env, **pipe))
        return begun[-1]

    yield begin
    for each in begun:
        each.kill()
        each.wait()


def test_the_crowd_command_loses_no_ballot_when_the_server_is_killed(
    system: Landslide, client: Client, code: str, crowd: Callable[..., Any]
) -> None:
    running = crowd("--voters", "120", "--rate", "30")
    client.tally_when(code, lambda tally: tally["ballots"] >= 20)
    system.kill()
    system.start()
    printed, _ = running.communicate(timeout=4 * PATIENCE)
    assert running.returncode == 0, printed
    assert "All 120 acknowledged ballots are counted." in printed
    assert ledger(system, code)["ballots"] == client.tally(code)["ballots"] == 120


def test_ctrl_c_ends_the_crowd_command_with_a_summary(
    system: Landslide, client: Client, code: str, crowd: Callable[..., Any]
) -> None:
    running = crowd("--voters", "5000", "--rate", "20")
    client.tally_when(code, lambda tally: tally["ballots"] >= 10)
    running.send_signal(signal.SIGINT)
    printed, _ = running.communicate(timeout=2 * PATIENCE)
    assert running.returncode == 0, printed
    counted = ledger(system, code)["ballots"]
    assert 10 <= counted < 5000
    assert f"All {counted} acknowledged ballots are counted." in printed
    assert "Traceback" not in printed


def test_a_crowd_holds_sockets_open(
    system: Landslide, client: Client, code: str, crowd: Callable[..., Any]
) -> None:
    running = crowd("--voters", "40", "--rate", "200", "--sockets")
    printed, _ = running.communicate(timeout=2 * PATIENCE)
    assert running.returncode == 0, printed
    rows = re.findall(r"│ (sockets|sockets lost) +│ +(\d+) │", printed)
    assert rows == [("sockets", "40"), ("sockets lost", "0")], printed
