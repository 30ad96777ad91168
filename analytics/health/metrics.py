"""The metrics for Prometheus, at /metrics."""

from django.conf import settings

from analytics.health.bounded_probes import ProbeRunner
from analytics.health.status import counting_status, log_status
from polls import clock, secret_key
from polls.votelog import sync_clock


def render() -> str:
    """Render the metrics as text. No metric is about a single poll: a graph must not show a hidden tally."""
    now = log_status() | counting_status()
    sync_clock()
    gauges: list[tuple[str, str, int]] = [
        ("backlog", "Accepted ballots that are not counted yet.", now["backlog"]),
        ("workers", "Counting workers alive.", sum(worker["alive"] for worker in now["workers"])),
        ("sweeping", "Whether the sweep, started by beat, ran lately.", now["sweeping"]),
        ("dead_letters", "Log entries that wait for a decision.", now["dead_letters"]),
        ("halted_polls", "Polls whose counting halted, since most of their ballots failed.", now["halted"]),
        ("held_ballots", "Ballots of halted polls, held until somebody resumes the counting.", now["held"]),
        ("log_consistent", "Whether the vote log is the one the database counts from.", now["consistent"]),
        (
            "clock_offset_seconds",
            "How far the vote log's clock is ahead of this host's.",
            round(clock.offset()),
        ),
        (
            "secret_key_known",
            "Whether this process has the SECRET_KEY that the polls were made with.",
            secret_key.secret_key_is_known(),
        ),
    ]
    lines = [line for gauge in gauges for line in _gauge(*gauge)]
    lines += _gauge("info", "What this process runs with.", 1, f'{{vote_log="{settings.VOTE_LOG}"}}')
    return "\n".join(lines) + "\n"


def _gauge(name: str, meaning: str, value: int, labels: str = "") -> list[str]:
    name = f"landslide_{name}"
    return [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name}{labels} {int(value)}"]


_scraper = ProbeRunner({"metrics": render})


def render_with_timeout() -> str:
    """Render within a few seconds. Raise the error of a store that fails, or TimeoutError if one hangs."""
    answer = _scraper.run()["metrics"]
    if isinstance(answer, BaseException):
        raise answer
    return str(answer)
