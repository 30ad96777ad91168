"""The histograms of how long accepting, appending, counting and showing take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from polls import timings
from polls.casting.log_writer import append_and_wait
from tests.factories import count, new_ballot, open_poll
from tests.system import ROOT


def observed(text: str) -> dict[str, float]:
    """Return by name how often each histogram was observed."""
    return {
        family.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.endswith("_count")
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("each_log")
def test_ballots_are_observed_once_for_a_group_and_once_for_a_batch() -> None:
    poll = open_poll()
    before = observed(timings.render())
    append_and_wait([new_ballot(poll, voter, 1) for voter in range(50)])
    count()
    after = observed(timings.render())
    assert after["landslide_accept_seconds"] - before["landslide_accept_seconds"] == 1
    assert after["landslide_append_seconds"] - before["landslide_append_seconds"] == 1
    assert 1 <= after["landslide_count_seconds"] - before["landslide_count_seconds"] <= 2  # per partition
    assert set(after) == {f"landslide_{name}_seconds" for name in ("accept", "append", "count", "show")}


OBSERVE = "from polls import timings; timings.{name}.observe({seconds})"
RENDER = "from polls import timings; print(timings.render())"


def run(folder: Path, code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {timings.MULTIPROCESS_FOLDER: str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_each_process_renders_the_figures_of_all(tmp_path: Path) -> None:
    """The figures include processes that have ended, so a total never falls while `serve` runs."""
    for name, seconds in (("ACCEPT", 0.002), ("ACCEPT", 0.3), ("COUNT", 0.04)):
        run(tmp_path, OBSERVE.format(name=name, seconds=seconds))
    text = run(tmp_path, f"{OBSERVE.format(name='SHOW', seconds=9)}; {RENDER}")
    assert observed(text) == {
        "landslide_accept_seconds": 2,
        "landslide_append_seconds": 0,
        "landslide_count_seconds": 1,
        "landslide_show_seconds": 1,
    }
    assert 'landslide_accept_seconds_bucket{le="0.0025"} 1.0' in text
    assert 'landslide_accept_seconds_bucket{le="0.5"} 2.0' in text
    assert 'landslide_show_seconds_bucket{le="5.0"} 0.0' in text
