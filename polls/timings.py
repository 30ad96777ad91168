"""Histograms of how long accepting, appending, counting and showing take, for /metrics.

Each is observed once for a group of ballots, never for a single ballot: an observation takes about 5 µs.

`serve` sets PROMETHEUS_MULTIPROC_DIR for its processes. With this variable, each process keeps its figures in
a file in that folder, and each can report the figures of all.
"""

import os

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own variable

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

disable_created_metrics()
_registry = CollectorRegistry()


def _histogram(name: str, meaning: str) -> Histogram:
    return Histogram(f"landslide_{name}_seconds", meaning, registry=_registry, buckets=_BUCKETS)


ACCEPT = _histogram("accept", "From the arrival of a group's first ballot until the group is answered.")
APPEND = _histogram("append", "Writing a group of ballots to the vote log.")
COUNT = _histogram("count", "Counting a batch of the vote log, in one transaction.")
SHOW = _histogram("show", "Reading a changed tally, encoding it and sending it to this process's viewers.")


def render() -> str:
    """Render the histograms of all processes on this host, or of this process if it runs alone."""
    registry = _registry
    if MULTIPROCESS_FOLDER in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry).decode()
