"""Write the latest outcome of each measure as a page: benchmarks/RESULTS.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from benchmarks.result import Goal, Outcome, Row, Verdict, number

ABOUT = """# Results

`make bench` writes this page. [README.md](README.md) says how to read it.

A ratio is Landslide's median divided by the peer's median. The range beside it goes from the lowest to the
highest ratio of a single repeat. In each repeat, Landslide and its peers took turns. Compare these figures
only with each other. On another machine, or on a shared machine at another time, all of them differ.
"""
HEAD = ("measure", "Landslide", "against", "ratio", "goal", "reached")


def page(outcomes: Iterable[Outcome]) -> str:
    outcomes = list(outcomes)
    parts = [ABOUT, _summary(outcomes), _table(outcomes), *_gone_wrong(outcomes), _runs(outcomes)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _summary(outcomes: list[Outcome]) -> str:
    verdicts = [verdict for outcome in outcomes for row in outcome.rows for verdict in row.verdicts()]
    reached = sum(verdict.reached for verdict in verdicts)
    quick = "\n\nSome measures were **quick runs**: short loads and few repeats, too noisy for some goals."
    return f"{reached} of {len(verdicts)} goals reached." + (quick if any(o.quick for o in outcomes) else "")


def _table(outcomes: list[Outcome]) -> str:
    lines = [_line(HEAD), _line(["---"] * len(HEAD))]
    for outcome in outcomes:
        for row in outcome.rows:
            lines += map(_line, _cells(row))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(row: Row) -> Iterator[list[str]]:
    """Yield one line per peer, with the goal against it, and one per absolute goal."""
    title = f"**{row.title}**" + (f"<br>{row.note}" if row.note else "")
    ours = f"{with_spread(row.median, row.spread)} {row.unit}"
    verdicts = {verdict.goal.peer: verdict for verdict in row.verdicts()}
    for peer in [*([None] if None in verdicts or not row.peers else []), *row.peers]:
        verdict = verdicts.get(peer)
        yield [title, ours, *_against(row, peer), str(verdict.goal) if verdict else "", reached(verdict)]
        title = ours = ""
    for missing in [peer for peer in verdicts if peer and peer not in row.peers]:
        yield [title, ours, f"{missing}: no figure", "–", str(verdicts[missing].goal), "no"]
        title = ours = ""


def _against(row: Row, peer: str | None) -> list[str]:
    if peer is None:
        return ["", ""]
    theirs = with_spread(row.peer_median(peer), row.peer_spread(peer))
    return [f"{peer}: {theirs}", with_spread(row.ratio(peer), row.ratio_spread(peer))]


def with_spread(value: float, spread: tuple[float, float]) -> str:
    low, high = map(number, spread)
    return number(value) if low == high else f"{number(value)} ({low}–{high})"


def reached(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    return "yes" if verdict.reached else f"**no**{_by_how_much(verdict.value, verdict.goal)}"


def _by_how_much(value: float, goal: Goal) -> str:
    bound = goal.least if goal.least is not None and value < goal.least else goal.most
    return "" if math.isnan(value) or not bound else f", {number(value / bound)} × the goal"


def _gone_wrong(outcomes: list[Outcome]) -> Iterator[str]:
    for heading, which in (("Failed", "failure"), ("Left out", "skipped")):
        lines = [f"- **{o.title}** (`{o.name}`): {getattr(o, which)}" for o in outcomes if getattr(o, which)]
        if lines:
            yield f"## {heading}\n\n" + "\n".join(lines)


def _runs(outcomes: list[Outcome]) -> str:
    lines = ["## Each measure by itself", "", _line(("command", "taken", "repeats", "minutes", "machine"))]
    lines.append(_line(["---"] * 5))
    for each in outcomes:
        where = ", ".join(
            f"{value} {name}" if name == "cores" else value for name, value in each.machine.items()
        )
        minutes = f"{each.seconds / 60:.1f}"
        lines.append(_line((f"`{each.command}`", each.date, str(each.repeats), minutes, where)))
    latest = max(outcomes, key=lambda each: each.date, default=None)
    found = ", ".join(f"{name} {number}" for name, number in latest.versions.items()) if latest else ""
    return "\n".join([*lines, "", f"With {found}."])
