"""Events of the voter's page and the resulting state."""

from typing import Any

from tests.scripts.running import Run, tally

#: Applies events one after the other and returns what the page would show.
REPLAY = """(vote, [tally, outbox, events]) => {
    const state = events.reduce(vote.reduce, vote.initialState(tally, outbox));
    const { notice, edited, selections } = state;
    return {
        phase: vote.phaseOf(state),
        shown: vote.shownSelections(state),
        results: vote.showsResults(state),
        occasion: vote.receiptOccasion(state),
        status: vote.receiptStatusOf(state),
        held: vote.isHeldBack(state),
        mayRestore: vote.mayRestore(state),
        owner: vote.ownerOf(state),
        notice: notice && [notice.tone, notice.key],
        saved: edited ? selections : [],
    };
}"""
POLL = tally(
    [5, 2, 1], round=1, epoch=1, revision=1, version=1, identity="browser", min_selections=1, revote=True
)
MINE = {"ballot_id": "b1", "round": 1, "selections": [2], "receipt": "r1", "changed": False}
PENDING = {"ballot_id": "b2", "round": 1, "selections": [3], "attempts": 0, "unknown": False}
ANN = {"identity": "browser", "eligible": True, "voted": False, "tag": None}
ROUND_TWO = {**POLL, "round": 2, "epoch": 2, "revision": 2, "version": 0}


def box(pending: Any = None, mine: Any = None) -> dict[str, Any]:
    return {"pending": pending, "mine": mine, "sending": False, "proving": False, "nextTry": 0}


def met(**changes: Any) -> dict[str, Any]:
    return {"type": "voterFetched", "voter": ANN | changes, "cutInvite": 0}


def selected(*numbers: int) -> dict[str, Any]:
    return {"type": "selected", "selections": [*numbers]}


def received(tally: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tallyReceived", "tally": tally}


def settled(kind: str, ballot: Any = PENDING, mine: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "ballotSettled", "kind": kind, "ballot": ballot, "outbox": box(mine=mine), **more}


ACCEPTED = settled("accepted", mine={**PENDING, "receipt": "r2", "changed": False})


def play(run: Run, *events: Any, poll: Any = POLL, outbox: Any = None) -> dict[str, Any]:
    return run("vote/state.js", REPLAY, [poll, outbox or box(), list(events)])
