"""The text of /metrics."""

import re

import pytest

from analytics.health.metrics import render

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_metric_has_help_and_type() -> None:
    named = [line.split()[0].split("{")[0] for line in render().splitlines() if line[0] != "#"]
    assert len(named) == len(set(named)) > 5
    for name in named:
        assert f"# HELP {name} " in render()
        assert f"# TYPE {name} gauge\n" in render()


def test_help_and_type_come_before_the_value() -> None:
    said: dict[str, list[str]] = {}
    for line in render().splitlines():
        words = line.split(" ", 3)
        name = words[2] if words[0] == "#" else re.split(r"[{ ]", line)[0]
        said.setdefault(name, []).append(words[1] if words[0] == "#" else "value")
        assert words[0] != "#" or words[3].strip()
    assert "landslide_info" in said
    assert {name: kinds for name, kinds in said.items() if kinds != ["HELP", "TYPE", "value"]} == {}
