/** The server's time, learnt from a response's Date: a phone's own clock may be minutes off, and be set while the
 *  page is open. Between two answers the time goes on by the browser's monotonic clock. */

const PRECISION = 1500; // milliseconds; the header has whole seconds, and a round trip takes some
const PARTED = 2000; // so far apart, one of the two clocks was set, or stood still while the device slept
const AGAIN = 15000; // between two questions

let offset = 0; // what to add to the monotonic clock
let leadThen = 0; // lead() when we learnt
let known = false;
let asked = -Infinity;

/** How far the device's clock is ahead of the monotonic one: the same, until one of them is set or stops. */
const lead = () => Date.now() - performance.now();

/** `sent` and `received` by performance.now(). A cache's answer is older than its Date, by its Age. */
export function learnTime(response, sent, received = performance.now()) {
  const date = Date.parse(response.headers.get("Date") || "");
  if (Number.isNaN(date)) return;
  const age = Math.max(0, Number(response.headers.get("Age")) || 0);
  const guess = date + 1000 * age + 500 - (sent + received) / 2;
  // Below its own precision the header only adds noise, to what we know already or to a good clock of the device.
  const near = (other) => Math.abs(guess - other) < PRECISION;
  if (!known || !near(offset)) offset = near(lead()) ? lead() : guess;
  leadThen = lead();
  known = true;
}

export const now = () => (known ? performance.now() + offset : Date.now());

/** Is it time to ask the server? Nothing is known yet, or local and monotonic clock have parted since. */
export const isUncertain = () => !known || Math.abs(lead() - leadThen) > PARTED;

/** Ask `url` for the time where it is doubtful; not every second, and within `spread` milliseconds. */
export async function syncTime(url, spread = 3000) {
  if (document.hidden || !isUncertain() || performance.now() - asked < AGAIN) return;
  asked = performance.now();
  await new Promise((resolve) => setTimeout(resolve, Math.random() * spread));
  const sent = performance.now();
  const response = await fetch(url, { method: "HEAD", cache: "no-store" }).catch(() => null);
  if (response) learnTime(response, sent);
}
