"""The plan of a load and its report; both are sent between processes as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from hdrh.histogram import HdrHistogram

LONGEST_US = 120_000_000
PERCENTILES = (50, 90, 99, 99.9)

#: The milliseconds by which the load may be late at its 99th percentile. A load that is later measures only
#: itself.
OWN_LAG_ALLOWED_MS = 25


@dataclass
class Plan:
    """The plan of a load.

    `template` is a request's text, with {cookie}, {ballot_id} and {choice} at most once and in this order.
    `voters` is a file with one cookie per line. Without this file, the same request is sent again and again.
    `requests` is a file of complete requests, and each request is sent once.
    """

    port: int
    template: str = ""
    voters: str = ""
    requests: str = ""
    first: int = 0  # the first voter or request that this load uses
    count: int = 0  # the maximum number of requests; 0: as many as the file has
    choices: int = 1
    rate: float = 0  # requests per second; 0: full speed
    seconds: float = 5
    connections: int = 64
    most_connections: int = 0  # open further connections, up to this number, while all wait for answers
    accepted: int = 202  # the status of an accepted request
    units: str = ""  # text to count in an accepted answer's body, if an answer covers several ballots
    timeout: float = 30  # seconds after which the outcome is unknown
    retries: int = 0  # after 429, 503 and unknown outcomes; each waits for Retry-After
    journal: str = ""  # a file for the ballot_ids of accepted ballots


@dataclass
class Report:
    """The result of a load.

    Latencies are in ms, of accepted and of all answered requests. A latency counts from the time when the
    request was *due*, even if no connection was free or the load was late (coordinated omission).
    """

    sent: int = 0
    accepted: int = 0
    units: int = 0
    unknown: int = 0  # ballots without an answer, even after retries
    retried: int = 0
    waiting: int = 0  # due requests without an answer when the load gave up
    statuses: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    started: float = 0  # when the first request was due, by the machine's monotonic clock
    seconds: float = 0  # time from the first due request to the last answer
    accepted_in_time: int = 0  # accepted while the load was running
    offered_seconds: float = 0
    latency: dict[str, float] = field(default_factory=dict)
    latency_of_all: dict[str, float] = field(default_factory=dict)
    own_lag: dict[str, float] = field(default_factory=dict)
    cpu_seconds: float = 0
    ran_out: bool = False  # voters or requests ran out before the time was over

    @property
    def goodput(self) -> float:
        return self.accepted_in_time / self.offered_seconds if self.offered_seconds else math.nan

    @property
    def void(self) -> str:
        """Return why the figures measure the load instead of the server, or "" if the figures are valid."""
        lag = self.own_lag.get("p99", 0)
        if lag > OWN_LAG_ALLOWED_MS:
            return f"the load kept {lag:.0f} ms behind its own schedule (p99)"
        if self.ran_out:
            return "the load ran out of voters"
        return ""

    @classmethod
    def read(cls, text: str) -> Report:
        return cls(**json.loads(text))

    def write(self) -> str:
        return json.dumps(asdict(self))


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """Latencies in ms, from an HDR histogram with three significant digits."""
    histogram = HdrHistogram(1, LONGEST_US, 3)
    for each in seconds:
        histogram.record_value(min(max(1, round(each * 1e6)), LONGEST_US))
    if not histogram.get_total_count():
        return {}
    at = {f"p{part:g}": histogram.get_value_at_percentile(part) / 1000 for part in PERCENTILES}
    return at | {"max": histogram.get_max_value() / 1000}
