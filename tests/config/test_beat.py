"""Beat as the process that `serve` starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import PATIENCE
from tests.system import ROOT, bare_environment

#: Told to stop while the garbage collector calls back, where an exception is printed and forgotten.
TOLD_IN_A_CALLBACK = """
import os, signal, sys, weakref
from celery.signals import beat_init
from config.celery import app

class Thing:
    pass

def told(_gone):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(100):
        pass

@beat_init.connect
def tell(**_):
    thing = Thing()
    known = weakref.ref(thing, told)
    del thing

from celery.__main__ import main
sys.argv = ["celery", "--quiet", "-A", "config", "beat", "--pidfile="]
main()
"""


@pytest.mark.early
def test_a_signal_ends_it_wherever_it_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD_IN_A_CALLBACK],
        cwd=ROOT,
        env=bare_environment(tmp_path, DATA_DIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
