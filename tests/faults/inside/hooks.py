"""Wrap the product's functions in the processes of a system under test, with steps and defects.

The product needs no code for it: each module is patched right after its import.
"""

from __future__ import annotations

import datetime
import functools
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.faults import clocks
from tests.faults.failpoints import FOLDER, Failpoints

Patch = Callable[[ModuleType], None]

failpoints = Failpoints(Path(os.environ.get(FOLDER, "/nonexistent")))
_patches: dict[str, list[Patch]] = defaultdict(list)


def role() -> str:
    """Return this process's role: web, worker, beat, or the name of a manage.py command."""
    words = sys.orig_argv
    if "config.serving.web" in words:
        return "web"
    if "celery" in words:
        return "beat" if "beat" in words else "worker"
    return words[words.index("manage.py") + 1] if "manage.py" in words[:-1] else ""


def install() -> None:
    _set_environment()
    clocks.choose()
    from tests.faults.inside import broken, broken_trust, steps, voters  # their add() fills _patches

    steps.add()
    broken.add()
    broken_trust.add()
    voters.add()
    for name, constants in json.loads(os.environ.get("FAULTS_CONSTANTS", "{}")).items():
        _patches[name].append(functools.partial(_set_constants, constants=constants))
    sys.meta_path.insert(0, _Finder())


def _set_environment() -> None:
    """Set the environment variables of this process's role, such as the address of a store's proxy."""
    os.environ.update(json.loads(os.environ.get(f"FAULTS_ENV_{role().upper()}", "{}")))


def _set_constants(module: ModuleType, constants: dict[str, Any]) -> None:
    for name, value in constants.items():
        if isinstance(getattr(module, name), datetime.timedelta):
            value = datetime.timedelta(seconds=value)
        setattr(module, name, value)


def after_import(module: str) -> Callable[[Patch], Patch]:
    """Decorate a function that patches `module` after its import."""

    def add(patch: Patch) -> Patch:
        _patches[module].append(patch)
        return patch

    return add


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in _patches:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            execute(module)
            for patch in _patches[name]:
                patch(module)

        spec.loader.exec_module = execute_and_patch  # type: ignore[method-assign]
        return spec


def reached(step: str) -> None:
    """Kill or stop this process if a failpoint is set at `step`."""
    act = failpoints.hit(step)
    if act == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif act == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.2)  # the signal may stop another thread first, and this one would go on a little


def around(owner: Any, name: str, *, before: str = "", after: str = "") -> None:
    """Put steps before and after `owner.name`."""
    work = getattr(owner, name)

    @functools.wraps(work)
    def stepping(*args: Any, **options: Any) -> Any:
        if before:
            reached(before)
        result = work(*args, **options)
        if after:
            reached(after)
        return result

    setattr(owner, name, stepping)


def instead(owner: Any, name: str, switch: str, other: Callable[..., Any]) -> None:
    """While `switch` is on, call `other(work, *args)` instead of `work(*args)`; work is `owner.name`."""
    work = getattr(owner, name)

    @functools.wraps(work)
    def choosing(*args: Any, **options: Any) -> Any:
        if failpoints.is_on(switch):
            return other(work, *args, **options)
        return work(*args, **options)

    setattr(owner, name, choosing)
