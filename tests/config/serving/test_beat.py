"""Celery beat as a process."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import PATIENCE
from tests.system import ROOT, bare_environment

BEAT = """
import os, signal, sys, weakref
import celery.beat
from celery.__main__ import main
from celery.signals import beat_init

def told(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(100):
        pass
    raise RuntimeError("it goes on")

{when}
sys.argv = ["celery", "--quiet", "-A", "config", "beat", "--pidfile="]
main()
"""
#: The signal arrives in a callback of the garbage collector, where Python only prints exceptions.
IN_A_CALLBACK = """
class Thing:
    pass

@beat_init.connect
def tell(**_):
    thing = Thing()
    known = weakref.ref(thing, told)
    del thing
"""
#: The signal arrives while beat creates its schedule and can't close it yet.
AS_IT_STARTS = "celery.beat.Service.get_scheduler = told"


@pytest.mark.early
@pytest.mark.parametrize("when", [IN_A_CALLBACK, AS_IT_STARTS], ids=["in a callback", "as it starts"])
def test_stop_signal_ends_beat_in_any_state(tmp_path: Path, when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEAT.format(when=when)],
        cwd=ROOT,
        env=bare_environment(tmp_path, DATA_DIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
