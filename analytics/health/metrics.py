"""The metrics for Prometheus, at /metrics."""

from collections.abc import Iterator

from django.conf import settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from analytics.health.bounded_probes import ProbeRunner
from analytics.health.status import counting_status, log_status
from polls import clock, secret_key
from polls.votelog import sync_clock

_MEANINGS = {
    "backlog": "Accepted ballots that are not counted yet.",
    "workers": "Counting workers alive.",
    "sweeping": "Whether the sweep, started by beat, ran lately.",
    "dead_letters": "Log entries that wait for a decision.",
    "halted_polls": "Polls whose counting halted, since most of their ballots failed.",
    "held_ballots": "Ballots of halted polls, held until somebody resumes the counting.",
    "log_consistent": "Whether the vote log is the one the database counts from.",
    "clock_offset_seconds": "How far the vote log's clock is ahead of this host's.",
    "secret_key_known": "Whether this process has the SECRET_KEY that the polls were made with.",
}


class _Gauges(Collector):
    """The gauges. No gauge is about a single poll, since a graph must not show a hidden tally."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = log_status() | counting_status()
        sync_clock()
        values = now | {
            "workers": sum(worker["alive"] for worker in now["workers"]),
            "halted_polls": now["halted"],
            "held_ballots": now["held"],
            "log_consistent": now["consistent"],
            "clock_offset_seconds": round(clock.offset()),
            "secret_key_known": secret_key.secret_key_is_known(),
        }
        for name, meaning in _MEANINGS.items():
            yield GaugeMetricFamily(f"landslide_{name}", meaning, values[name])
        info = GaugeMetricFamily("landslide_info", "What this process runs with.", labels=["vote_log"])
        info.add_metric([settings.VOTE_LOG], 1)
        yield info


_registry = CollectorRegistry()
_registry.register(_Gauges())


def render() -> str:
    """Render the gauges as text."""
    return generate_latest(_registry).decode()


_scraper = ProbeRunner({"metrics": render})


def render_with_timeout() -> str:
    """Render the gauges within a few seconds. Raise a failing store's error, or TimeoutError if it hangs."""
    answer = _scraper.run()["metrics"]
    if isinstance(answer, BaseException):
        raise answer
    return str(answer)
