/** Sentences about a poll that every page says the same way. */

import { now } from "../live/server-clock.js";
import { shorten } from "./shorten.js";
import { countdown, formatList, formatNumber, isolated, isToday, pollTime, shares, text } from "./texts.js";

const HOUR = 3600000;
const MOST_LETTERS = 120; // of all labels in one sentence
const LABEL_LETTERS = 40; // of each of several
const MOST_QUARANTINED = 5; // choices of the second tally in a sentence; the table has all

export const isOver = (tally) => ["closing", "closed", "published"].includes(tally.state);
export const isFinal = (tally) => ["closed", "published"].includes(tally.state);
export const allowsSeveral = (tally) => tally.max_selections > 1;

/** Do the figures move in steps, so that ballots may be counted that they don't show yet? */
const isStepped = (tally) => tally.release_step > 1 && ["open", "closing"].includes(tally.state);

/** The time at which a draft opens or an open poll closes. */
const nextTime = (tally) => ({ draft: tally.opens_at, open: tally.closes_at })[tally.state];

/** Is there a countdown to draw every second? */
export const isTicking = (tally) => Boolean(nextTime(tally)) && Date.parse(nextTime(tally)) - now() < 48 * HOUR;

/** When a draft opens. */
export function opensText(tally) {
  if (!tally.opens_at) return text("opensByItself");
  const wait = Date.parse(tally.opens_at) - now();
  if (wait <= 0) return text("opensSoon");
  return wait > 24 * HOUR
    ? text("opensOn", { time: pollTime(tally.opens_at, now()) })
    : text("opensIn", { time: countdown(wait) });
}

/** When an open poll closes: a countdown in the last hour, a time before; empty without a planned time. */
export function closesText(tally) {
  if (tally.state !== "open" || !tally.closes_at) return "";
  const wait = Date.parse(tally.closes_at) - now();
  if (wait <= 0) return text("closesSoon");
  if (wait <= HOUR) return text("closesIn", { time: countdown(wait) });
  return text(isToday(tally.closes_at, now()) ? "closesAt" : "closesOn", { time: pollTime(tally.closes_at, now()) });
}

/** That voting is over, since when, and whether the result is official. */
export function closedText(tally) {
  if (tally.state === "closing") return text("closing");
  const at = tally.closed_at;
  const key = !at ? "closed" : isToday(at, now()) ? "closedAt" : "closedOn";
  return [resultText(tally), text(key, { time: at && pollTime(at, now()) })].filter(Boolean).join(" · ");
}

/** When the poll opens, closes or closed. */
export function timesText(tally) {
  if (tally.state === "draft") return opensText(tally);
  return isOver(tally) ? closedText(tally) : closesText(tally);
}

/** The countdown that timesText() may have in it. */
export function countdownText(tally) {
  const wait = nextTime(tally) ? Date.parse(nextTime(tally)) - now() : 0;
  return wait > 0 ? countdown(wait) : "";
}

function resultText(tally) {
  if (!isFinal(tally) || !tally.visible) return "";
  return text(tally.state === "published" ? "officialResult" : "finalResult");
}

/** The poll's state after a change, for a screen reader. */
export function stateText(tally) {
  if (tally.state === "draft") return text("notOpen");
  return tally.state === "open" ? text("opened") : closedText(tally);
}

/** "120 ballots"; where several choices are allowed, voters and selections are two totals. */
export function totalsText(tally) {
  if (!tally.ballots && isStepped(tally)) return ""; // there may be some
  if (!allowsSeveral(tally)) return text("ballots", { count: tally.ballots });
  return `${text("voters", { count: tally.ballots })} · ${text("selections", { count: tally.selections })}`;
}

/** The second tally, of ballots in quarantine, and whether they would change the outcome; empty without any. */
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

/** What a reader must know about the figures: what shares are of, that they don't add up to 100 %, that ballots show in
 *  steps. */
export function figuresNote(tally, decimals = 0) {
  const isRounded = () => tally.visible && !shares(tally, decimals).addUp;
  const key = !tally.ballots ? "" : allowsSeveral(tally) ? "shareOfVoters" : isRounded() ? "sharesRounded" : "";
  const steps = isStepped(tally) ? text("inSteps", { count: tally.release_step }) : "";
  return [key && text(key), steps].filter(Boolean).join(" ");
}

/** That no ballot is counted; empty if some are, or may be. */
export function noBallotsText(tally) {
  if (tally.ballots || isStepped(tally)) return "";
  return text(isFinal(tally) ? "noBallotsCounted" : "noBallots");
}

/** Who won; empty until the result is final, and without a winner. */
export function outcomeText(tally) {
  const winners = isFinal(tally) && tally.visible ? labelsOf(tally, tally.winners ?? []) : [];
  if (!winners.length) return "";
  return text(winners.length > 1 ? "tie" : "winner", { choices: labelsText(winners) });
}

/** Why no figures are shown. */
export function hiddenText(tally) {
  if (tally.visible === undefined) return text("loading");
  const keys = { after_vote: "hiddenAfterVote", after_close: "hiddenAfterClose", staff: "hiddenStaff" };
  return text(keys[tally.results_visible] ?? "loading");
}

/** Who may vote in this poll, and what counts as one voter. */
export function assuranceText(tally) {
  const keys = { browser: "assureBrowser", login: "assureLogin", invite: "assureInvite", client: "assureClient" };
  return tally.identity in keys ? text(keys[tally.identity]) : "";
}

/** Who leads or has won, in one sentence, for a screen reader. */
export function announcementText(tally) {
  if (!tally.visible || !tally.ballots) return "";
  const total = totalsText(tally);
  if (isFinal(tally)) return text("announcementFinal", { result: resultText(tally), outcome: outcomeText(tally), total });
  const most = Math.max(...tally.choices.map((choice) => choice.votes));
  const leaders = tally.choices.filter((choice) => choice.votes === most).map((choice) => choice.label);
  const values = { choices: labelsText(leaders), share: shares(tally).of(most), total };
  return text(leaders.length === 1 ? "announcement" : "announcementTie", values);
}

/** Labels in a sentence: as many as it has room for, and how many more there are. */
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
