"""The calculations behind the benchmarks' tables."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.report import page
from benchmarks.result import Goal, Outcome, Results, Row, number


def row(**fields: object) -> Row:
    return Row(
        **({"name": "ingest.web", "title": "Accepted", "unit": "ballots/CPU-s", "ours": [10.0]} | fields)
    )


def outcome(*rows: Row, name: str = "ingest", **fields: object) -> Outcome:
    return Outcome(name, "Accepting", f"python -m benchmarks {name}", list(rows), **fields)


# --- medians, ratios, spread ---


def test_a_ratio_is_that_of_the_medians() -> None:
    measured = row(ours=[90, 100, 500], peers={"stock": [1, 4, 2]})
    assert measured.ratio("stock") == 100 / 2


def test_the_spread_of_a_ratio_compares_samples_of_the_same_turn() -> None:
    # In the second turn the machine was twice as slow for both programs.
    measured = row(ours=[100, 50], peers={"stock": [10, 5]})
    assert measured.ratio_spread("stock") == (10, 10)
    assert measured.spread == (50, 100)


@pytest.mark.parametrize("peers", [{}, {"stock": []}, {"stock": [0.0]}])
def test_without_a_figure_there_is_no_ratio(peers: dict[str, list[float]]) -> None:
    assert math.isnan(row(peers=peers).ratio("stock"))


# --- goals ---


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [
        (Goal("stock", least=100), 100, True),
        (Goal("stock", least=100), 99.9, False),
        (Goal("stock", most=1.2), 1.2, True),
        (Goal("stock", most=1.2), 1.21, False),
        (Goal("stock", least=0.5, most=2), 1, True),
        (Goal("stock", least=0.5, most=2), 3, False),
    ],
)
def test_a_goal_bounds_the_ratio(goal: Goal, value: float, reached: bool) -> None:
    [verdict] = row(ours=[value * 7], peers={"stock": [7.0]}, goals=[goal]).verdicts()
    assert (verdict.value, verdict.reached) == (pytest.approx(value), reached)


def test_a_goal_without_a_peer_bounds_our_own_figure() -> None:
    assert row(ours=[9, 10, 11], goals=[Goal(most=10)]).reached
    assert not row(ours=[9, 10.5, 11], goals=[Goal(most=10)]).reached


def test_a_goal_may_be_that_nothing_is_lost() -> None:
    assert row(ours=[0.0], goals=[Goal(most=0)]).reached
    assert not row(ours=[1.0], goals=[Goal(most=0)]).reached


def test_a_goal_against_a_peer_that_was_not_measured_is_missed() -> None:
    assert not row(goals=[Goal("stock", least=1)]).reached
    assert not row(goals=[Goal("stock", most=1)]).reached


def test_a_row_reaches_its_goal_only_if_all_its_goals_are_reached() -> None:
    peers = {"stock": [0.1], "fastify": [20.0]}
    assert row(peers=peers, goals=[Goal("stock", least=100)]).reached
    assert not row(peers=peers, goals=[Goal("stock", least=100), Goal("fastify", least=1)]).reached


# --- kept between runs ---


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    kept = outcome(row(peers={"stock": [1.0, 2.0]}, goals=[Goal("stock", least=2.5)]), machine={"cores": "2"})
    results = Results(tmp_path / "results.json")
    results.keep(kept)
    results.save()
    assert Results(results.path).outcomes == {"ingest": kept}
    json.loads(results.path.read_text())


def test_a_later_run_of_one_measure_replaces_its_rows_only(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    results.keep(outcome(row(ours=[1.0]), row(name="ingest.gone")))
    results.keep(outcome(row(ours=[5.0]), name="batch"))
    results.save()
    later = Results(results.path)
    later.keep(outcome(row(ours=[2.0])))
    assert [[each.ours for each in one.rows] for one in later.outcomes.values()] == [[[2.0]], [[5.0]]]


# --- the page ---


def test_the_page_says_what_was_reached_and_what_not() -> None:
    goals = [Goal("stock", least=2), Goal("ws", least=2)]
    text = page([outcome(row(peers={"stock": [2.0], "ws": [10.0], "nchan": [5.0]}, goals=goals))])
    assert "1 of 2 goals reached." in text
    lines = {line.split(":")[0].rpartition("| ")[2]: line for line in text.splitlines() if "| ≥ 2" in line}
    assert lines["stock"].endswith("| ≥ 2 × stock | yes |")
    assert lines["ws"].endswith("| ≥ 2 × ws | **no**, 0.5 × the goal |")
    assert "nchan: 5 | 2 |  |  |" in text


def test_a_measure_that_failed_is_on_the_page_with_its_reason() -> None:
    text = page(
        [outcome(failure="LoadFailed: unexpected answers"), outcome(name="growth", skipped="no room")]
    )
    assert "## Failed\n\n- **Accepting** (`ingest`): LoadFailed: unexpected answers" in text
    assert "## Left out\n\n- **Accepting** (`growth`): no room" in text


def test_a_peer_without_a_figure_is_on_the_page() -> None:
    text = page([outcome(row(goals=[Goal("nchan", least=1)]))])
    assert "nchan: no figure | – | ≥ 1 × nchan | no |" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.12345, "0.123"), (9.999, "10"), (99.95, "100"), (1234.5, "1,234"), (math.nan, "–")],
)
def test_figures_are_shown_with_three_digits(value: float, text: str) -> None:
    assert number(value) == text
