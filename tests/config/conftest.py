import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system import ROOT

#: A program that imports the settings' dependencies once, which takes a second. It then evaluates the
#: settings in a new fork for each request.
READER = """
import json, os, sys
import redis.asyncio.retry
from config import env
from config.admin import theme
from config.operations import checks, logging, postgresql
from config.security import page_headers
from config.serving import network

for line in sys.stdin:
    expression, environment = json.loads(line)
    if not os.fork():
        os.environ.clear()
        os.environ.update(environment)
        from django.conf import settings
        try:
            told = str(eval(expression))
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        print(json.dumps(told), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def reader() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", READER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        yield process


@pytest.fixture
def evaluate(reader: subprocess.Popen[str], tmp_path: Path) -> Callable[..., str]:
    """Return a function that evaluates `expression` in a process with only these variables."""

    def ask(expression: str, **environment: str) -> str:
        fixed = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data")}
        fixed["DJANGO_SETTINGS_MODULE"] = "config.settings"
        assert reader.stdin and reader.stdout
        reader.stdin.write(json.dumps([expression, fixed | environment]) + "\n")
        return str(json.loads(reader.stdout.readline()))

    return ask
