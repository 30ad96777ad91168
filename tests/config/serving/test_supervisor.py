"""The supervisor, with real children and signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.serving import supervisor
from tests.servers import PATIENCE
from tests.system import ROOT

#: A supervisor with two stages. Each child prints its name and pid, and a line when it stops.
TREE = """
import sys
from config.serving.supervisor import Child, Supervisor
CHILD = '''
import os, signal, sys, time
def stop(*_):
    if sys.argv[2] == "stubborn": return
    print("stopped", sys.argv[1], time.monotonic(), flush=True); os._exit(0)
signal.signal(signal.SIGTERM, stop)
print("started", sys.argv[1], os.getpid(), flush=True)
if sys.argv[2] == "fails": sys.exit(3)
while True: time.sleep(0.05)
'''
def child(name, stage):
    return Child(name, [sys.executable, "-c", CHILD, name, sys.argv[1]], stage)
children = [child("web", 0), child("worker", 1)]
def emit(name, line):
    print(line.decode(), flush=True)
tree = Supervisor(children, emit, grace=2 * [1.0 if sys.argv[1] == "stubborn" else 60.0])
sys.exit(tree.run())
"""


class Tree:
    def __init__(self, kind: str, folder: Path) -> None:
        self.output = folder / "output"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", TREE, kind],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lines_of(self, word: str) -> list[list[str]]:
        lines = [line.split() for line in self.output.read_text().splitlines()]
        return [line[1:] for line in lines if line[0] == word]

    def pids(self, name: str) -> list[int]:
        return [int(pid) for child, pid in self.lines_of("started") if child == name]

    def end(self) -> None:
        for pid in [self.process.pid, *self.pids("web"), *self.pids("worker")]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Tree]]:
    made: list[Tree] = []

    def tree(kind: str = "obedient") -> Tree:
        made.append(Tree(kind, tmp_path))
        return made[-1]

    yield tree
    for each in made:
        each.end()


def started(tree: Tree) -> bool:
    return bool(tree.pids("web") and tree.pids("worker"))


def test_only_the_killed_child_is_restarted(start):
    tree = start()
    until(lambda: started(tree))
    os.kill(tree.pids("worker")[0], signal.SIGKILL)
    until(lambda: len(tree.pids("worker")) == 2)
    assert alive(tree.pids("worker")[1])
    assert len(tree.pids("web")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_web_before_workers(start, number):
    tree = start()
    until(lambda: started(tree))
    tree.process.send_signal(number)
    assert tree.process.wait(PATIENCE) == 0
    (first, web_time), (second, worker_time) = tree.lines_of("stopped")
    assert (first, second) == ("web", "worker")
    assert float(web_time) < float(worker_time)
    assert not any(map(alive, tree.pids("web") + tree.pids("worker")))


def test_child_that_ignores_sigterm_is_killed(start):
    tree = start("stubborn")
    until(lambda: started(tree))
    tree.process.terminate()
    assert tree.process.wait(PATIENCE) == 0
    assert not any(map(alive, tree.pids("web") + tree.pids("worker")))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_killed_supervisor_leaves_no_orphans(start):
    tree = start()
    until(lambda: started(tree))
    tree.process.kill()
    until(lambda: not any(map(alive, tree.pids("web") + tree.pids("worker"))))


def test_supervisor_gives_up_if_children_never_start(start):
    tree = start("fails")
    assert tree.process.wait(PATIENCE) == 1
    assert max(len(tree.pids("web")), len(tree.pids("worker"))) == supervisor.GIVE_UP_AFTER
    assert "A process fails to start" in tree.output.read_text()
