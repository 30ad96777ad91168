"""The CPU time and memory of a tree of processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import Meter, Program, cpu_seconds, logged, pin, pss, server_core, tree
from tests.servers import started, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")

#: A program that runs a child which uses CPU time, waits for its end, prints "done" and sleeps.
PARENT = """
import subprocess, sys, time
child = "import time\\nend = time.process_time() + 0.3\\nwhile time.process_time() < end: pass"
subprocess.run([sys.executable, "-c", child])
print("done", flush=True)
time.sleep(60)
"""
GRANDPARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PARENT!r}])"


def test_the_cpu_time_of_an_ended_child_counts() -> None:
    parent = Program("parent", [sys.executable, "-c", PARENT], ready=logged("done"))
    with started(parent):
        assert cpu_seconds(parent.pid) >= 0.3
        assert tree(parent.pid) == [parent.pid]


def test_a_meter_counts_from_when_it_was_made() -> None:
    parent = Program("parent", [sys.executable, "-c", PARENT], ready=logged("done"))
    with started(parent):
        assert Meter(parent.pid).seconds() < cpu_seconds(parent.pid)


def test_memory_of_a_tree_is_that_of_its_members() -> None:
    parent = Program("parent", [sys.executable, "-c", GRANDPARENT], ready=logged("done"))
    with started(parent):
        [child] = set(tree(parent.pid)) - {parent.pid}
        assert pss(parent.pid) > pss(child) > 2**20


def test_the_children_of_a_program_end_with_it() -> None:
    child = "import time; time.sleep(60)"
    start = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}])"
    code = f"{start}; print('up', flush=True); time.sleep(60)"
    parent = Program("parent", [sys.executable, "-c", code], ready=logged("up"))
    with started(parent):
        [orphan] = set(tree(parent.pid)) - {parent.pid}
    wait_for(lambda: not tree(orphan), what="the child's end")


def test_pinning_holds_for_the_whole_tree() -> None:
    parent = Program("parent", [sys.executable, "-c", GRANDPARENT], ready=logged("done"))
    with started(parent):
        pin([parent.pid], server_core())
        for pid in tree(parent.pid):
            shown = subprocess.run(["taskset", "-p", str(pid)], capture_output=True, text=True).stdout
            assert int(shown.rpartition(":")[2], 16) == sum(1 << core for core in server_core())
