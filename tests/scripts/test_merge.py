"""static/js/live/merge.js: an old snapshot plus the later messages gives the fresh snapshot."""

import os
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scripts.running import Run

pytestmark = pytest.mark.full_only

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
bounded = settings(max_examples=EXAMPLES or 80)

SHOW = """({ mergeTally, mergeState }, { start, arriving }) => {
  let shown = start;
  const seen = [shown];
  for (const message of arriving) {
    const { type, ...facts } = message;
    shown = type === "state" ? mergeState(shown, message) : mergeTally(shown, facts);
    seen.push(shown);
  }
  return seen;
}"""

#: Events of a poll: a batch is counted, a lifecycle step, a reset, a recount.
happenings = st.lists(st.sampled_from(["vote", "vote", "vote", "step", "reset", "recount"]), max_size=12)


def history_of(happenings: list[str], visible_from: int) -> list[dict[str, Any]]:
    """Return the server's messages: a tally after each change, and a state after each lifecycle step."""
    epoch, revision, version, round_, ballots = 1, 1, 0, 1, 0
    messages: list[dict[str, Any]] = []

    def tell(moved: bool) -> None:
        stamp = {"round": round_, "epoch": epoch, "revision": revision}
        state = {"state": f"state {revision}", "closed_at": None}
        if moved:
            messages.append({"type": "state", **stamp, **state})
        figures = {"version": version, "ballots": ballots} if len(messages) >= visible_from else {}
        messages.append({"type": "tally", **stamp, **state, "visible": bool(figures), **figures})

    tell(False)
    for happening in happenings:
        if happening == "vote":
            version, ballots = version + 1, ballots + 3
        elif happening == "step":
            revision += 1
        elif happening == "recount":
            epoch, version, ballots = epoch + 1, version + 1, max(0, ballots - 1)
        else:
            epoch, revision, round_, version, ballots = epoch + 1, revision + 1, round_ + 1, 0, 0
        tell(happening in ("step", "reset"))
    return messages


def stamp(shown: dict[str, Any]) -> tuple[int, int]:
    return shown["epoch"], shown["revision"]


def test_whatever_is_lost_doubled_or_late_the_newest_is_shown(run: Run) -> None:
    @bounded
    @given(happenings, st.integers(0, 8), st.data())
    def hold(happenings: list[str], visible_from: int, data: st.DataObject) -> None:
        history = history_of(happenings, visible_from)
        tallies = [message for message in history if message["type"] == "tally"]
        start = {name: value for name, value in data.draw(st.sampled_from(tallies)).items() if name != "type"}
        some = data.draw(st.lists(st.sampled_from(history), max_size=12))
        arriving = data.draw(st.permutations([*some, tallies[-1]]))
        seen = run("live/merge.js", SHOW, {"start": start, "arriving": arriving})
        fresh = {name: value for name, value in tallies[-1].items() if name != "type"}
        assert seen[-1] == fresh
        for before, after in pairwise(seen):
            assert stamp(after) >= stamp(before)
            if stamp(after) == stamp(before) and before["visible"]:
                assert after["visible"] and after["version"] >= before["version"]

    hold()


def test_figures_of_one_round_are_never_shown_in_another(run: Run) -> None:
    @bounded
    @given(happenings, st.data())
    def hold(happenings: list[str], data: st.DataObject) -> None:
        history = history_of(happenings, 0)
        tallies = [message for message in history if message["type"] == "tally"]
        known = {(t["round"], t["version"]): t["ballots"] for t in tallies}  # versions grow within a round
        start = {name: value for name, value in tallies[0].items() if name != "type"}
        arriving = data.draw(st.lists(st.sampled_from(history), max_size=20))
        for shown in run("live/merge.js", SHOW, {"start": start, "arriving": arriving}):
            if "ballots" in shown:
                assert known.get((shown["round"], shown["version"])) == shown["ballots"]

    hold()
