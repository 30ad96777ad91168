/** The texts of the bar at the bottom of the voter's page. Pure. */

import { methodOf } from "../methods/registry.js";
import { text } from "../text/texts.js";
import { isHeldBack, mineOf, phaseOf, problemOf, receiptStatusOf, shownSelections } from "./state.js";
import { barredKeys } from "./wording.js";

/** Return { title, words, more, tone } for a state; `now` by performance.now(). */
export function castTexts(state, now) {
  const { tally, voter, outbox, cutInvite, unreached } = state;
  const phase = phaseOf(state);
  const notice = state.notice && { words: text(state.notice.key, state.notice.values), tone: state.notice.tone };
  if (phase === "retrying") return { ...retryTexts(state, now), tone: "warn" };
  if (phase === "sending") return { words: sendingText(outbox) };
  if (phase === "barred") {
    const { title, words } = barredKeys(voter, cutInvite);
    return { title: text(title), words: text(words, { count: cutInvite }), ...notice };
  }
  if (phase === "over" && notice?.tone === "bad") return notice;
  if (phase === "over" && !mineOf(state)) return { words: text("tooLate") };
  if (phase === "over") return ballotTexts(receiptStatusOf(state), { over: true, ...castWith(state) });
  if (phase === "voted") return { ...ballotTexts(receiptStatusOf(state), { over: false, ...castWith(state) }), ...notice };
  if (notice) return notice;
  if (phase === "preparing") return { words: text(unreached ? "preparingSlow" : "preparing") };
  const problem = problemOf(state);
  const selections = shownSelections(state);
  // The text above the form says what may be chosen.
  if (problem && !selections.length) return { words: text("nothingChosen") };
  return { words: methodOf(tally).progress(tally, selections, problem) };
}

function castWith(state) {
  const mine = mineOf(state);
  return {
    invited: state.voter?.identity === "invite" && mine.selections === null,
    changed: state.justCast && mine.changed,
  };
}

const sendingText = ({ proving }) => text(proving ? "proving" : "casting");

function retryTexts(state, now) {
  const { pending, sending, nextTry } = state.outbox;
  const seconds = Math.ceil((nextTry - now) / 1000);
  return {
    title: text(pending.unknown ? "unknownTitle" : "busyTitle"),
    words: text(!isHeldBack(state) ? "unknown" : pending.held ? "held" : "busy"),
    more: sending || seconds < 1 ? sendingText(state.outbox) : text("nextTry", { count: seconds }),
  };
}

const STATUSES = {
  quarantined: { title: "statusQuarantined", words: "statusQuarantinedText", tone: "warn" },
  replaced: { title: "statusReplaced", words: "statusReplacedText", tone: "warn" },
  rejected: { title: "statusRejected", words: "statusRejectedText", tone: "bad" },
  purged: { title: "statusPurged", words: "statusPurgedText", tone: "" },
  unknown: { title: "statusUnknown", words: "statusUnknownText", tone: "bad" },
};
const OVER = { counted: "ballotCounts", accepted: "ballotWaits" };

/** Return { title, words, tone } for a ballot with this receipt status. `over`: voting has ended; `invited`: another
 *  device cast it with the same invite; `changed`: it was just cast and replaced another ballot. */
export function ballotTexts(status, { over, invited, changed }) {
  const found = STATUSES[status];
  if (found) return { title: text(found.title), words: text(found.words), tone: found.tone };
  const title = text(invited ? "inviteUsed" : changed ? "changeIn" : "ballotIn");
  if (over) return { title, words: text(OVER[status] ?? "ballotIsIn"), tone: "good" };
  const words = invited ? (status === "counted" ? "inviteUsedCounted" : "inviteUsedText") : "ballotInText";
  return { title, words: text(words), tone: "good" };
}
