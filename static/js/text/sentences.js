/** Sentences about a poll that every page says the same way. */

import { now } from "../live/server-clock.js";
import { shorten } from "./shorten.js";
import { formatList, countdown, isolated, isToday, formatNumber, pollTime, shares, text } from "./texts.js";

const HOUR = 3600000;
/** Letters that names may take in one sentence, and each of several. */
const SENTENCE = 120;
const NAME = 40;

export const isOver = (tally) => ["closing", "closed", "published"].includes(tally.state);
export const isFinal = (tally) => ["closed", "published"].includes(tally.state);
export const allowsSeveral = (tally) => tally.max_selections > 1;

/** When a draft opens. */
export function opensText(tally) {
  if (!tally.opens_at) return text("opensByItself");
  const wait = Date.parse(tally.opens_at) - now();
  if (wait <= 0) return text("opensSoon");
  return wait > 24 * HOUR
    ? text("opensOn", { time: pollTime(tally.opens_at, now()) })
    : text("opensIn", { time: countdown(wait) });
}

/** When an open poll closes; empty if nobody said. A countdown in the last hour, a time before. */
export function closesText(tally) {
  if (tally.state !== "open" || !tally.closes_at) return "";
  const wait = Date.parse(tally.closes_at) - now();
  if (wait <= 0) return text("closesSoon");
  if (wait <= HOUR) return text("closesIn", { time: countdown(wait) });
  const key = isToday(tally.closes_at, now()) ? "closesAt" : "closesOn";
  return text(key, { time: pollTime(tally.closes_at, now()) });
}

/** The countdown that these two may have in them. */
export function countdownText(tally) {
  const time = { draft: tally.opens_at, open: tally.closes_at }[tally.state];
  const wait = time ? Date.parse(time) - now() : 0;
  return wait > 0 ? countdown(wait) : "";
}

/** That voting is over, and since when. */
export function closedText(tally) {
  if (tally.state === "closing") return text("closing");
  return [resultText(tally), closedSinceText(tally)].filter(Boolean).join(" · ");
}

/** What the figures are, once they don't move any more. */
function resultText(tally) {
  if (!isFinal(tally) || !tally.visible) return "";
  return text(tally.state === "published" ? "officialResult" : "finalResult");
}

function closedSinceText(tally) {
  if (!tally.closed_at) return text("closed");
  const key = isToday(tally.closed_at, now()) ? "closedAt" : "closedOn";
  return text(key, { time: pollTime(tally.closed_at, now()) });
}

/** What has become of the poll, for who can't see it change. */
export function stateText(tally) {
  if (tally.state === "draft") return text("notOpen");
  return tally.state === "open" ? text("opened") : closedText(tally);
}

/** Is there a countdown that has to be drawn again every second? */
export function isTicking(tally) {
  const time = { draft: tally.opens_at, open: tally.closes_at }[tally.state];
  return Boolean(time) && Date.parse(time) - now() < 48 * HOUR;
}

/** "120 ballots"; where several may be chosen voters and selections are two totals. */
export function totalsText(tally) {
  if (!tally.ballots && isStepped(tally)) return ""; // there may be some
  if (!allowsSeveral(tally)) return text("ballots", { count: tally.ballots });
  return `${text("voters", { count: tally.ballots })} · ${text("selections", { count: tally.selections })}`;
}

const MOST_NAMED = 5; // of the second tally's choices; the table has all

/** The second tally, of ballots that are counted apart, and whether it would change the outcome; empty without any. */
export function quarantineText(tally) {
  const apart = tally.quarantined;
  if (!apart?.ballots) return "";
  const ballots = text("setAside", { count: apart.ballots });
  if (apart.withheld) return `${ballots}. ${text("setAsideWithheld")}`;
  const most = apart.choices.filter(({ votes }) => votes).sort((a, b) => b.votes - a.votes);
  const names = shorten(most.slice(0, MOST_NAMED).flatMap((choice) => labelsOf(tally, [choice.number])), NAME);
  const votes = names.length ? `: ${names.map((name, at) => `${isolated(name)} ${formatNumber(most[at].votes)}`).join(" · ")}` : "";
  const more = most.length > MOST_NAMED ? " …" : ".";
  return `${ballots}${votes}${more} ${ifReleasedText(tally, apart.winners_if_released)}`.trim();
}

function ifReleasedText(tally, winners) {
  if (!winners || String(winners) === String(tally.winners)) return "";
  return text(winners.length > 1 ? "tieWithThem" : "winnerWithThem", { choices: namesText(labelsOf(tally, winners)) });
}

/** Do the figures move by several ballots or not at all, so that some may be in that don't show yet? */
export const isStepped = (tally) => tally.release_step > 1 && ["open", "closing"].includes(tally.state);

/** What has to be said about the figures, whose shares have so many decimals: what shares are of, or that they don't
 *  add up to 100 %, and that ballots show in steps. */
export function figuresNote(tally, decimals = 0) {
  const rounded = () => tally.visible && !shares(tally, decimals).sums;
  const key = !tally.ballots ? "" : allowsSeveral(tally) ? "shareOfVoters" : rounded() ? "sharesRounded" : "";
  const steps = isStepped(tally) ? text("inSteps", { count: tally.release_step }) : "";
  return [key && text(key), steps].filter(Boolean).join(" ");
}

/** That nothing is counted; empty where ballots may be in all the same. */
export function noBallotsText(tally) {
  if (tally.ballots || isStepped(tally)) return "";
  return text(isFinal(tally) ? "noBallotsCounted" : "noBallots");
}

/** Who won; empty while it is not final, and where nobody did. */
export function outcomeText(tally) {
  const winners = isFinal(tally) && tally.visible ? labelsOf(tally, tally.winners ?? []) : [];
  if (!winners.length) return "";
  return text(winners.length > 1 ? "tie" : "winner", { choices: namesText(winners) });
}

/** Why there are no figures to see. */
export function hiddenText(tally) {
  if (tally.visible === undefined) return text("loading");
  const keys = { after_vote: "hiddenAfterVote", after_close: "hiddenAfterClose", staff: "hiddenStaff" };
  return text(keys[tally.results_visible] ?? "loading");
}

/** What one voter is in this poll, said as far as it goes and no further. */
export function assuranceText(tally) {
  const keys = { browser: "assureBrowser", login: "assureLogin", invite: "assureInvite", client: "assureClient" };
  return tally.identity in keys ? text(keys[tally.identity]) : "";
}

/** The state of the race in one sentence, for a screen reader. */
export function announcementText(tally) {
  if (!tally.visible || !tally.ballots) return "";
  const total = totalsText(tally);
  if (isFinal(tally)) return text("announcementFinal", { result: resultText(tally), outcome: outcomeText(tally), total });
  const most = Math.max(...tally.choices.map((choice) => choice.votes));
  const leaders = tally.choices.filter((choice) => choice.votes === most);
  const values = { share: shares(tally).of(most), total };
  const choices = namesText(leaders.map((choice) => choice.label));
  return text(leaders.length === 1 ? "announcement" : "announcementTie", { choices, ...values });
}

/** Names in a sentence: as many as it has room for, and how many more there are. */
function namesText(names) {
  const short = names.length === 1 ? names : shorten(names, NAME);
  const kept = [];
  for (const name of short) {
    if (kept.length && kept.join("").length + name.length > SENTENCE) break;
    kept.push(name);
  }
  const rest = names.length - kept.length;
  return formatList([...kept, ...(rest ? [text("more", { count: rest })] : [])]);
}

export function labelsOf(tally, numbers) {
  return tally.choices.filter((choice) => numbers.includes(choice.number)).map((choice) => choice.label);
}
