"""The text of /metrics, and who may read which part."""

import subprocess
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from analytics.health.metrics import render
from polls.models import ApiClient
from tests.install import promtool

pytestmark = pytest.mark.django_db(transaction=True)

GAUGES = {
    *("backlog", "workers", "sweeping", "dead_letters", "halted_polls", "held_ballots"),
    *("log_consistent", "clock_offset_seconds", "secret_key_known", "info"),
}
HISTOGRAMS = {f"{name}_seconds" for name in ("accept", "append", "count", "show")}


def kinds(text: str) -> dict[str, str]:
    return {
        family.name.removeprefix("landslide_"): family.type
        for family in text_string_to_metric_families(text)
        if family.documentation and family.samples
    }


def get(client: Any, scope: str | None = None) -> Any:
    if scope is None:
        return client.get("/metrics")
    _, key = ApiClient.objects.create_key(name="Prometheus", scopes=[scope])
    return client.get("/metrics", headers={"Authorization": f"Api-Key {key}"})


def test_every_gauge_has_its_name_and_a_value(settings: Any) -> None:
    text = render()
    assert kinds(text) == dict.fromkeys(GAUGES, "gauge")
    assert f'landslide_info{{vote_log="{settings.VOTE_LOG}"}} 1.0\n' in text
    assert "\nlandslide_backlog 0.0\n" in text


def test_only_a_key_for_metrics_reads_the_histograms(client: Any) -> None:
    """The histograms show when ballots arrive, even in a poll whose tally is hidden."""
    assert kinds(get(client).text) == dict.fromkeys(GAUGES, "gauge")
    assert kinds(get(client, "polls:write").text) == dict.fromkeys(GAUGES, "gauge")
    answer = get(client, "metrics:read")
    assert kinds(answer.text) == dict.fromkeys(GAUGES, "gauge") | dict.fromkeys(HISTOGRAMS, "histogram")
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_a_wrong_key_is_refused(client: Any) -> None:
    answer = client.get("/metrics", headers={"Authorization": "Api-Key wrong"})
    assert (answer.status_code, answer["Content-Type"]) == (401, "text/plain")


def test_promtool_finds_nothing_wrong(client: Any) -> None:
    program = promtool()
    assert program, "python -m tests.install installs it"
    done = subprocess.run(
        [program, "check", "metrics"],
        input=get(client, "metrics:read").content,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert (done.returncode, done.stdout) == (0, b"")
