/** Sentences about a poll, shared by all pages. */

import { now } from "../live/server-clock.js";
import { shorten } from "./shorten.js";
import { countdown, formatList, formatNumber, isolated, isToday, pollTime, shares, text } from "./texts.js";

const HOUR = 3600000;
const MOST_LETTERS = 120; // for all labels in one sentence
const LABEL_LETTERS = 40; // for each label, if there are several

export const isOver = (tally) => ["closing", "closed", "published"].includes(tally.state);
export const isFinal = (tally) => ["closed", "published"].includes(tally.state);

/** Tell whether results are stepped: there may be counted ballots that the figures don't show yet. */
export const isStepped = (tally) => tally.release_step > 1 && ["open", "closing"].includes(tally.state);

/** Return the time at which a draft opens or an open poll closes. */
const nextTime = (tally) => ({ draft: tally.opens_at, open: tally.closes_at })[tally.state];

/** Tell whether to draw every second: a planned time is less than two days away. */
export const isTicking = (tally) => Boolean(nextTime(tally)) && Date.parse(nextTime(tally)) - now() < 48 * HOUR;

/** Say when a draft opens. */
export function opensText(tally) {
  if (!tally.opens_at) return text("opensByItself");
  const wait = Date.parse(tally.opens_at) - now();
  if (wait <= 0) return text("opensSoon");
  return wait > 24 * HOUR
    ? text("opensOn", { time: pollTime(tally.opens_at, now()) })
    : text("opensIn", { time: countdown(wait) });
}

/** Say when an open poll closes: a countdown in the last hour, a time before that; empty without a planned time. */
export function closesText(tally) {
  if (tally.state !== "open" || !tally.closes_at) return "";
  const wait = Date.parse(tally.closes_at) - now();
  if (wait <= 0) return text("closesSoon");
  if (wait <= HOUR) return text("closesIn", { time: countdown(wait) });
  return text(isToday(tally.closes_at, now()) ? "closesAt" : "closesOn", { time: pollTime(tally.closes_at, now()) });
}

/** Say that voting is over, since when, and whether the result is official. */
export function closedText(tally) {
  if (tally.state === "closing") return text("closing");
  const at = tally.closed_at;
  const key = !at ? "closed" : isToday(at, now()) ? "closedAt" : "closedOn";
  return [resultText(tally), text(key, { time: at && pollTime(at, now()) })].filter(Boolean).join(" · ");
}

/** Say when the poll opens, closes or closed. */
export function timesText(tally) {
  if (tally.state === "draft") return opensText(tally);
  return isOver(tally) ? closedText(tally) : closesText(tally);
}

/** Return the countdown that timesText() may contain; empty without a planned time. */
export function countdownText(tally) {
  const wait = nextTime(tally) ? Date.parse(nextTime(tally)) - now() : 0;
  return wait > 0 ? countdown(wait) : "";
}

/** Say that the shown result is final or official; empty before. */
export function resultText(tally) {
  if (!isFinal(tally) || !tally.visible) return "";
  return text(tally.state === "published" ? "officialResult" : "finalResult");
}

/** Say the poll's new state, for a screen reader. */
export function stateText(tally) {
  if (tally.state === "draft") return text("notOpen");
  return tally.state === "open" ? text("opened") : closedText(tally);
}


/** Say that no ballot is counted; empty if there are ballots, or if stepped results may hide some. */
export function noBallotsText(tally) {
  if (tally.ballots || isStepped(tally)) return "";
  return text(isFinal(tally) ? "noBallotsCounted" : "noBallots");
}

/** Say why no figures are shown. */
export function hiddenText(tally) {
  if (tally.visible === undefined) return text("loading");
  const keys = { after_vote: "hiddenAfterVote", after_close: "hiddenAfterClose", staff: "hiddenStaff" };
  return text(keys[tally.results_visible] ?? "loading");
}

/** Say who may vote in this poll, and what counts as one voter. */
export function assuranceText(tally) {
  const keys = { browser: "assureBrowser", login: "assureLogin", invite: "assureInvite", client: "assureClient" };
  return tally.identity in keys ? text(keys[tally.identity]) : "";
}

/** List labels up to a total length, then how many more there are. */
export function labelsText(labels) {
  const short = labels.length === 1 ? labels : shorten(labels, LABEL_LETTERS);
  const kept = [];
  for (const label of short) {
    if (kept.length && kept.join("").length + label.length > MOST_LETTERS) break;
    kept.push(label);
  }
  const rest = labels.length - kept.length;
  return formatList([...kept, ...(rest ? [text("more", { count: rest })] : [])]);
}

/** Return the labels of the choices with these numbers. */
export function labelsOf(tally, numbers) {
  return tally.choices.filter((choice) => numbers.includes(choice.number)).map((choice) => choice.label);
}
