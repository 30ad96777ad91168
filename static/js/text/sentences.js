/** Sentences about a poll, shared by all pages. */

import { now } from "../live/server-clock.js";
import { shorten } from "./shorten.js";
import { countdown, formatList, formatNumber, isolated, isToday, pollTime, shares, text } from "./texts.js";

const HOUR = 3600000;
const MOST_LETTERS = 120; // for all labels in one sentence
const LABEL_LETTERS = 40; // for each label, if there are several
const MOST_QUARANTINED = 5; // choices of the second tally in a sentence; the table has all

export const isOver = (tally) => ["closing", "closed", "published"].includes(tally.state);
export const isFinal = (tally) => ["closed", "published"].includes(tally.state);
export const allowsSeveral = (tally) => tally.max_selections > 1;

/** Tell whether results are stepped: there may be counted ballots that the figures don't show yet. */
const isStepped = (tally) => tally.release_step > 1 && ["open", "closing"].includes(tally.state);

/** Return the time at which a draft opens or an open poll closes. */
const nextTime = (tally) => ({ draft: tally.opens_at, open: tally.closes_at })[tally.state];

/** Tell whether there is a countdown to draw every second. */
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

/** Return the countdown in timesText(), if any. */
export function countdownText(tally) {
  const wait = nextTime(tally) ? Date.parse(nextTime(tally)) - now() : 0;
  return wait > 0 ? countdown(wait) : "";
}

function resultText(tally) {
  if (!isFinal(tally) || !tally.visible) return "";
  return text(tally.state === "published" ? "officialResult" : "finalResult");
}

/** Say the poll's new state, for a screen reader. */
export function stateText(tally) {
  if (tally.state === "draft") return text("notOpen");
  return tally.state === "open" ? text("opened") : closedText(tally);
}

/** Say the total: "120 ballots", or voters and selections where several choices are allowed. */
export function totalsText(tally) {
  if (!tally.ballots && isStepped(tally)) return ""; // some ballots may be counted, but not shown yet
  if (!allowsSeveral(tally)) return text("ballots", { count: tally.ballots });
  return `${text("voters", { count: tally.ballots })} · ${text("selections", { count: tally.selections })}`;
}

/** Describe the tally of quarantined ballots, and say whether they would change the outcome; empty if there are none. */
export function quarantineText(tally) {
  const quarantined = tally.quarantined;
  if (!quarantined?.ballots) return "";
  const ballots = text("setAside", { count: quarantined.ballots });
  if (quarantined.withheld) return `${ballots}. ${text("setAsideWithheld")}`;
  const most = quarantined.choices.filter(({ votes }) => votes).sort((a, b) => b.votes - a.votes);
  const labels = most.slice(0, MOST_QUARANTINED).flatMap(({ number }) => labelsOf(tally, [number]));
  const parts = shorten(labels, LABEL_LETTERS).map((label, index) => `${isolated(label)} ${formatNumber(most[index].votes)}`);
  const votes = parts.length ? `: ${parts.join(" · ")}` : "";
  const more = most.length > MOST_QUARANTINED ? " …" : ".";
  return `${ballots}${votes}${more} ${ifReleasedText(tally, quarantined.winners_if_released)}`.trim();
}

function ifReleasedText(tally, winners) {
  if (!winners || String(winners) === String(tally.winners)) return "";
  return text(winners.length > 1 ? "tieWithThem" : "winnerWithThem", { choices: labelsText(labelsOf(tally, winners)) });
}

/** Explain the figures: the base of the shares, that they don't add up to 100 %, that results are stepped. */
export function figuresNote(tally, decimals = 0) {
  const isRounded = () => tally.visible && !shares(tally, decimals).addUp;
  const key = !tally.ballots ? "" : allowsSeveral(tally) ? "shareOfVoters" : isRounded() ? "sharesRounded" : "";
  const steps = isStepped(tally) ? text("inSteps", { count: tally.release_step }) : "";
  return [key && text(key), steps].filter(Boolean).join(" ");
}

/** Say that no ballot is counted; empty if a ballot is counted, or may be counted. */
export function noBallotsText(tally) {
  if (tally.ballots || isStepped(tally)) return "";
  return text(isFinal(tally) ? "noBallotsCounted" : "noBallots");
}

/** Say who won; empty until the result is final, and without a winner. */
export function outcomeText(tally) {
  const winners = isFinal(tally) && tally.visible ? labelsOf(tally, tally.winners ?? []) : [];
  if (!winners.length) return "";
  return text(winners.length > 1 ? "tie" : "winner", { choices: labelsText(winners) });
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

/** Say who leads or has won, for a screen reader. */
export function announcementText(tally) {
  if (!tally.visible || !tally.ballots) return "";
  const total = totalsText(tally);
  if (isFinal(tally)) return text("announcementFinal", { result: resultText(tally), outcome: outcomeText(tally), total });
  const most = Math.max(...tally.choices.map((choice) => choice.votes));
  const leaders = tally.choices.filter((choice) => choice.votes === most).map((choice) => choice.label);
  const values = { choices: labelsText(leaders), share: shares(tally).of(most), total };
  return text(leaders.length === 1 ? "announcement" : "announcementTie", values);
}

/** List labels up to a total length, then how many more there are. */
function labelsText(labels) {
  const short = labels.length === 1 ? labels : shorten(labels, LABEL_LETTERS);
  const kept = [];
  for (const label of short) {
    if (kept.length && kept.join("").length + label.length > MOST_LETTERS) break;
    kept.push(label);
  }
  const rest = labels.length - kept.length;
  return formatList([...kept, ...(rest ? [text("more", { count: rest })] : [])]);
}

function labelsOf(tally, numbers) {
  return tally.choices.filter((choice) => numbers.includes(choice.number)).map((choice) => choice.label);
}
