/** The state of the voter's page: what changes it, and what follows from it. Pure.
 *
 *  vote.js dispatches an event for everything that happens, reduce() makes the next state of it, and render.js
 *  draws that. */

import { mergeState, mergeTally } from "../live/merge.js";
import { refusalKey, selectionProblem } from "./wording.js";

export function initialState(tally, outbox, selections = []) {
  return {
    tally,
    outbox, // Outbox.state
    voter: null, // the voter endpoint's answer
    selections, // the numbers marked on the cards and not cast yet
    edited: false, // the voter marked them, so a reload must keep them
    notice: null, // { tone, key, values }: what came of the last attempt, until the voter acts again
    receiptStatus: null, // { receipt, status }: the server's last word on a ballot
    cutInvite: 0, // the length of a refused invite that is too short or too long
    changing: false, // a ballot is in, and its voter is choosing again
    justCast: false, // this page cast the ballot that is in
    peeking: false, // results are shown to a voter who hasn't voted yet
    unreached: false, // the voter endpoint didn't answer at first
    gone: false, // there is no such poll any more
  };
}

/** The state after an event: { type, … }, where `type` is one of the names below. */
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
  /** "Change it" while the ballot is in, "Keep it" while it is being changed. */
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
  // Another person at the same device must not see what the last one marked.
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

/** The voter's ballot in the round that is shown; null without one. Its selections are null if another device cast it. */
export const mineOf = ({ outbox, tally }) => (outbox.mine?.round === tally.round ? outbox.mine : null);

/** gone · waiting (not open yet) · preparing (the voter isn't known yet) · barred (may not vote) · choosing · changing ·
 *  sending · retrying · voted · over */
export function phaseOf(state) {
  const { tally, voter, outbox, changing, gone } = state;
  if (gone) return "gone";
  // A ballot on its way comes first, whatever became of the poll meanwhile: it has to be settled.
  if (outbox.pending) return outbox.pending.attempts > 0 ? "retrying" : "sending";
  if (tally.state === "draft") return "waiting";
  if (tally.state !== "open") return "over";
  if (mineOf(state)) return changing ? "changing" : "voted";
  // The voter endpoint was asked when the poll, as a draft, may have had other voters.
  if (voter?.identity !== tally.identity) return "preparing";
  return voter.eligible ? "choosing" : "barred";
}

/** Are the cards a form now? */
export const isFillingIn = (state) => ["preparing", "choosing", "changing"].includes(phaseOf(state));

/** The numbers to show as marked. */
export function shownSelections(state) {
  if (state.outbox.pending) return state.outbox.pending.selections;
  return (isFillingIn(state) ? state.selections : mineOf(state)?.selections) ?? [];
}

export const problemOf = (state) => selectionProblem(state.tally, shownSelections(state).length);

export const wantsInvite = (state) => phaseOf(state) === "barred" && state.voter.needs === "invite";

/** Does the server want this ballot to wait? Then no impatience shortens the wait. */
export const isHeldBack = ({ outbox: { pending } }) => Boolean(pending?.attempts && pending.busy);

/** Are results drawn on the cards? */
export function showsResults(state) {
  const { tally, peeking, voter } = state;
  return Boolean(tally.visible) && (peeking || ["voted", "over"].includes(phaseOf(state)) || voter?.needs === "client");
}

/** Whose marks the selections are: they are restored for nobody else, and in no other round. */
export const ownerOf = (state) => ({ round: state.tally.round, tag: state.voter?.tag, replaces: mineOf(state)?.ballot_id });

/** May marks from before a reload be restored? */
export function mayRestore(state) {
  const { tally, voter } = state;
  return tally.state === "open" && voter?.eligible !== false && (!mineOf(state) || tally.revote);
}

/** What may have changed the status of the voter's receipt; empty while the ballot is as good as counted. */
export function receiptOccasion({ tally, justCast }) {
  const decisions = tally.quarantined?.reasons ?? 0;
  if (["closed", "published"].includes(tally.state)) return `${tally.state} ${decisions}`;
  return decisions || !justCast ? `open ${decisions}` : "";
}

/** The status of the receipt of the voter's ballot, as the API has it; null until the server has answered. */
export function receiptStatusOf(state) {
  const found = state.receiptStatus;
  return found && found.receipt === mineOf(state)?.receipt ? found.status : null;
}
