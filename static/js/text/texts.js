/** The page's texts, translated by the server (polls/pages/script_messages.py), and numbers and times in the reader's
 *  format. */

import { addsUp, decimalsFor, rounded } from "./percentages.js";

const language = document.documentElement.lang || "en";
// "en" alone would show American times to everybody, so use the reader's own variant of the page's language.
const own = (navigator.languages || []).filter((tag) => tag.split("-")[0].toLowerCase() === language.split("-")[0]);
const locale = [...own, language, "en"].find(isKnownTag);
const texts = JSON.parse(document.getElementById("texts")?.textContent || "{}");
const rules = new Intl.PluralRules(locale);
const whole = new Intl.NumberFormat(locale);
const decimal = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(locale, { style: "percent" });
const signed = new Intl.NumberFormat(locale, { signDisplay: "exceptZero", maximumFractionDigits: 0 });
const list = new Intl.ListFormat(locale, { type: "conjunction" });

/** Tell whether Intl accepts a language tag. It rejects some systems' "en-US@posix" or "en-US.UTF-8". */
function isKnownTag(tag) {
  try {
    return Intl.getCanonicalLocales(tag).length > 0;
  } catch {
    return false;
  }
}

/** Return a text with its values; the value `count` picks the plural. */
export function text(key, values = {}) {
  const entry = texts[key];
  const form = typeof entry === "object" ? (entry[rules.select(values.count ?? 0)] ?? entry.other) : entry;
  return (form ?? key).replace(/%\((\w+)\)s/g, (_, name) =>
    typeof values[name] === "number" ? whole.format(values[name]) : (values[name] ?? ""),
  );
}

export const formatNumber = (value) => whole.format(value);

/** Format a number with one decimal. */
export const formatDecimal = (value) => decimal.format(value);

/** Format a whole percentage. */
export const formatPercent = (value) => percent.format(value / 100);

/** Format a whole number with its sign, and a true minus sign. */
export const formatSigned = (value) => signed.format(value).replace("-", "\u2212");

/** Return { of, near, addUp }: of(votes) formats a share, near(value) a value during an animation; addUp says whether
 *  the rounded shares add up to 100 %. */
export function shares(tally, leastDecimals = 0) {
  const { ballots } = tally;
  const decimals = decimalsFor(votesOf(tally), ballots, leastDecimals);
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  const format = new Intl.NumberFormat(locale, { style: "percent", ...digits });
  const near = (value) => format.format(value);
  const of = (votes) => {
    if (!ballots) return "–";
    const { sign, percent } = rounded(votes, ballots, decimals);
    return sign + near(percent / 100);
  };
  return { of, near, addUp: addsUp(votesOf(tally), ballots, decimals) };
}

const votesOf = (tally) => tally.choices.map((choice) => choice.votes);

/** Isolate users' text, so that it can't reorder the sentence around it (UAX #9). ASCII never does. */
export const isolated = (words) => (/^[ -~]*$/.test(words) ? words : `\u2068${words}\u2069`);

export const formatList = (labels) => list.format(labels.map(isolated));

export const isToday = (time, now) => new Date(time).toDateString() === new Date(now).toDateString();

/** Format a poll's time with its zone, and with the date and year if they aren't today's. */
export const pollTime = (time, now) => moment(time, now, { timeZoneName: "short" });

/** Format a full date and time, for print. */
export const dateAndTime = (time) => {
  const date = { day: "numeric", month: "long", year: "numeric" };
  const clock = { hour: "numeric", minute: "2-digit", timeZoneName: "short" };
  return new Intl.DateTimeFormat(locale, { ...date, ...clock }).format(new Date(time));
};

/** Format a time without its zone. */
export const clockTime = (time, now) => moment(time, now, {});

function moment(time, now, zone) {
  const [then, today] = [new Date(time), new Date(now)];
  const year = then.getFullYear() === today.getFullYear() ? {} : { year: "numeric" };
  const date = isToday(then, today) ? {} : { day: "numeric", month: "long", ...year };
  return new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit", ...date, ...zone }).format(then);
}

/** Format a duration: "3:05", "1:02:09" or "2 days". */
export function countdown(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  if (seconds >= 172800) return text("day", { count: Math.floor(seconds / 86400) });
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return (hours ? `${hours}:${two(minutes)}` : `${minutes}`) + `:${two(seconds % 60)}`;
}
