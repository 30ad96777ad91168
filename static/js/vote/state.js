/** The state of the voter's page: its events and what is derived from it. Pure.
 *
 *  vote.js dispatches events, reduce() returns the next state, and render.js draws it. */

import { mergeState, mergeTally } from "../live/merge.js";
import { methodOf } from "../methods/registry.js";
import { refusalKey } from "./wording.js";

export function initialState(tally, outbox, selections = []) {
  return {
    tally,
    outbox, // Outbox.state
    voter: null, // the voter endpoint's answer
    selections, // the marks in the form that are not cast yet
    edited: false, // whether the voter marked them: then they must survive a reload
    notice: null, // { tone, key, values }: the outcome of the last attempt, until the voter acts again
    receiptStatus: null, // { receipt, status }: the last known status of a ballot
    cutInvite: 0, // the length of a refused invite that is too short or too long
    changing: false, // the voter has a ballot in the poll and is choosing again
    justCast: false, // this page cast the voter's current ballot
    peeking: false, // results are shown to a voter who hasn't voted yet
    unreached: false, // the voter endpoint didn't answer at first
    gone: false, // the poll doesn't exist any more
  };
}

/** Return the state after an event: { type, … }, where `type` is a key of EVENTS. */
export const reduce = (state, event) => EVENTS[event.type](state, event);

const EVENTS = {
  tallyReceived: (state, { tally }) => withTally(state, mergeTally(state.tally, tally)),
  stateReceived: (state, { message }) => withTally(state, mergeState(state.tally, message)),
  pollGone: (state) => ({ ...state, gone: true }),
  voterUnreached: (state) => ({ ...state, unreached: true }),
  voterFetched: withVoter,
  outboxChanged: (state, { outbox }) => ({ ...state, outbox }),
  ballotSettled: withOutcome,
  ballotKept: (state) => ({ ...state, notice: noticeOf("warn", "keptForYou") }),
  receiptChecked: (state, { receipt, status }) => ({ ...state, receiptStatus: { receipt, status } }),
  selected: (state, { selections }) => ({ ...state, selections, edited: true, notice: null }),
  selectionRestored: (state, { selections }) => ({
    ...state,
    selections,
    edited: true,
    changing: Boolean(mineOf(state)),
    notice: noticeOf("", "marksKept"),
  }),
  castPressed(state) {
    const problem = problemOf(state);
    return { ...state, notice: problem && noticeOf("warn", problem.key, problem) };
  },
  /** The second button: "Change it" after voting, "Keep it" while changing. */
  secondPressed(state) {
    const changing = phaseOf(state) === "voted";
    return { ...unmarked(state, changing ? (mineOf(state).selections ?? []) : []), changing, notice: null };
  },
  peekPressed: (state) => ({ ...state, peeking: !state.peeking }),
  inviteShown: (state) => ({ ...state, notice: noticeOf("", "inviteShown") }),
};

const noticeOf = (tone, key, values = {}) => ({ tone, key, values });
const unmarked = (state, selections = []) => ({ ...state, selections, edited: false });

function withTally(state, tally) {
  if (tally === state.tally) return state;
  if (tally.round === state.tally.round) return { ...state, tally };
  const voted = state.outbox.mine || state.voter?.voted;
  const notice = voted ? noticeOf("warn", "newRound") : state.notice;
  return { ...unmarked(state), tally, notice, changing: false, justCast: false, peeking: false };
}

function withVoter(state, { voter, cutInvite }) {
  const notice = state.notice?.key === "inviteShown" ? null : state.notice;
  const next = { ...state, voter, cutInvite, notice };
  // Another voter on this device must not see the previous voter's marks.
  if (state.voter?.tag && state.voter.tag !== voter.tag) return { ...unmarked(next), changing: false, justCast: false };
  return voter.eligible || mineOf(state) ? next : unmarked(next);
}

/** kind: "accepted", "elsewhere" (another window cast it) or "refused", with the error's `code`. */
function withOutcome(state, { kind, code, ballot, outbox }) {
  const next = { ...unmarked(state), outbox, changing: false, justCast: kind === "accepted", notice: null };
  if (kind === "accepted") return { ...next, voter: { ...state.voter, voted: true } };
  if (kind === "elsewhere") return { ...next, notice: noticeOf("good", "elsewhere") };
  const notice = noticeOf("bad", refusalKey(code, state.tally.state, ballot.unknown), { code });
  if (ballot.round !== state.tally.round) return { ...next, notice };
  return { ...next, notice, selections: ballot.selections, edited: true };
}

/** Return the voter's ballot in the shown round, or null. Its selections are null if another device cast it. */
export const mineOf = ({ outbox, tally }) => (outbox.mine?.round === tally.round ? outbox.mine : null);

/** Return the phase: gone · waiting (not open yet) · preparing (the voter isn't known yet) · barred (may not vote) ·
 *  choosing · changing · sending · retrying · voted · over */
export function phaseOf(state) {
  const { tally, voter, outbox, changing, gone } = state;
  if (gone) return "gone";
  // A pending ballot has to be settled, whatever has happened to the poll.
  if (outbox.pending) return outbox.pending.attempts > 0 ? "retrying" : "sending";
  if (tally.state === "draft") return "waiting";
  if (tally.state !== "open") return "over";
  if (mineOf(state)) return changing ? "changing" : "voted";
  // The voter endpoint may have answered for a draft with a different identity policy.
  if (voter?.identity !== tally.identity) return "preparing";
  return voter.eligible ? "choosing" : "barred";
}

/** Tell whether the ballot can be filled in. */
export const isFillingIn = (state) => ["preparing", "choosing", "changing"].includes(phaseOf(state));

/** Return the marks to show. Those of an earlier round's ballot don't fit this round, whose method may differ. */
export function shownSelections(state) {
  const { tally, outbox: { pending } } = state;
  if (pending) return pending.round === tally.round ? pending.selections : [];
  return (isFillingIn(state) ? state.selections : mineOf(state)?.selections) ?? [];
}

export const problemOf = (state) => methodOf(state.tally).problem(state.tally, shownSelections(state));

export const wantsInvite = (state) => phaseOf(state) === "barred" && state.voter.needs === "invite";

/** Tell whether the server asked this ballot to wait. If so, the voter can't send it earlier. */
export const isHeldBack = ({ outbox: { pending } }) => Boolean(pending?.attempts && pending.busy);

/** Tell whether the form shows results. */
export function showsResults(state) {
  const { tally, peeking, voter } = state;
  return Boolean(tally.visible) && (peeking || ["voted", "over"].includes(phaseOf(state)) || voter?.needs === "client");
}

/** Return the owner of the marks: they are restored only for the same voter and round. */
export const ownerOf = (state) => ({ round: state.tally.round, tag: state.voter?.tag, replaces: mineOf(state)?.ballot_id });

/** Tell whether marks from before a reload may be restored. */
export function mayRestore(state) {
  const { tally, voter } = state;
  return tally.state === "open" && voter?.eligible !== false && (!mineOf(state) || tally.revote);
}

/** Return a key that changes when the receipt's status may have changed; empty while a check is unnecessary. */
export function receiptOccasion({ tally, justCast }) {
  const decisions = tally.quarantined?.reasons ?? 0;
  if (["closed", "published"].includes(tally.state)) return `${tally.state} ${decisions}`;
  return decisions || !justCast ? `open ${decisions}` : "";
}

/** Return the API's status of the voter's receipt; null until the server has answered. */
export function receiptStatusOf(state) {
  const found = state.receiptStatus;
  return found && found.receipt === mineOf(state)?.receipt ? found.status : null;
}
