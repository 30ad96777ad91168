"""Plot the ratios, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter

from benchmarks.result import Outcome, number

INK = "#7d8590"  # a gray that is legible on white and on near-black
REACHED, MISSED, NOT_ASKED = "#2f81f7", "#d29922", "#8b949e"

mpl.use("svg")
# With a fixed salt, the same figures give the same file, byte for byte.
mpl.rcParams.update({"svg.hashsalt": "landslide", "font.size": 9, "axes.edgecolor": INK, "text.color": INK})


@dataclass(frozen=True)
class Bar:
    label: str
    factor: float  # how many times better Landslide is
    asked: float  # the goal, or NaN without a goal
    reached: bool

    @property
    def colour(self) -> str:
        if math.isnan(self.asked):
            return NOT_ASKED
        return REACHED if self.reached else MISSED


def bars(outcomes: Iterable[Outcome]) -> list[Bar]:
    found = []
    for row in (row for outcome in outcomes for row in outcome.rows if not row.against_itself):
        goals = {verdict.goal.peer: verdict for verdict in row.verdicts()}
        for peer in row.peers:
            verdict, ratio = goals.get(peer), row.ratio(peer)
            if math.isnan(ratio) or ratio <= 0:
                continue
            bound = (verdict.goal.least or verdict.goal.most) if verdict else None
            better, asked = (
                (ratio, bound or math.nan) if row.higher_is_better else (1 / ratio, 1 / (bound or math.nan))
            )
            found.append(
                Bar(f"{row.title}\nagainst {peer}", better, asked, verdict is None or verdict.reached)
            )
    return found


def draw(outcomes: Iterable[Outcome], path: Path) -> None:
    drawn = bars(outcomes)
    if not drawn:
        return
    figure, axes = pyplot.subplots(figsize=(8.4, 0.9 + 0.42 * len(drawn)))
    places = range(len(drawn))[::-1]
    axes.barh(
        places,
        [each.factor - 1 for each in drawn],
        left=1,
        height=0.55,
        color=[each.colour for each in drawn],
    )
    for place, each in zip(places, drawn, strict=True):
        beyond = max(each.factor, 1, 0 if math.isnan(each.asked) else each.asked)
        axes.text(beyond * 1.1, place, f"{number(each.factor)} ×", va="center", color=INK, weight="bold")
        if not math.isnan(each.asked):
            axes.plot([each.asked] * 2, [place - 0.36, place + 0.36], color=INK, linewidth=1.6)
    axes.set_xscale("log")
    axes.set_xlim(right=max(each.factor for each in drawn) * 3)
    axes.set_yticks(list(places), [each.label for each in drawn])
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xlabel("times better than the peer (logarithmic axis); the tick is the goal")
    finish(figure, axes, path)


def finish(figure: pyplot.Figure, axes: pyplot.Axes, path: Path) -> None:
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    )
    axes.tick_params(colors=INK, which="both")
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, transparent=True, metadata={"Date": None})
    pyplot.close(figure)
