/** The server's time, from the Date header of its answers and, between answers, the browser's monotonic clock. A
 *  phone's own clock may be minutes off, or be set while the page is open. */

const PRECISION = 1500; // milliseconds; the header has whole seconds, and a round trip takes time
const DRIFT = 2000; // if lead() changes by more, one of the device's clocks was set, or the device slept
const PAUSE = 15000; // between two requests for the time

let offset = 0; // server time minus monotonic time
let leadThen = 0; // lead() at the last answer
let known = false;
let lastRequest = -Infinity;

/** The device's clock minus the monotonic clock: constant, unless one of them is set or stops. */
const lead = () => Date.now() - performance.now();

/** Set the offset from a response; `sent` and `received` by performance.now(). A cached answer's Age is added to its Date. */
export function learnTime(response, sent, received = performance.now()) {
  const date = Date.parse(response.headers.get("Date") || "");
  if (Number.isNaN(date)) return;
  const age = Math.max(0, Number(response.headers.get("Age")) || 0);
  const guess = date + 1000 * age + 500 - (sent + received) / 2;
  // A difference within the header's precision may be noise: then keep the old offset, or use the device's clock as it is.
  const isNear = (other) => Math.abs(guess - other) < PRECISION;
  if (!known || !isNear(offset)) offset = isNear(lead()) ? lead() : guess;
  leadThen = lead();
  known = true;
}

export const now = () => (known ? performance.now() + offset : Date.now());

/** Tell whether the server's time is unknown, or one of the device's clocks was set. */
export const isUncertain = () => !known || Math.abs(lead() - leadThen) > DRIFT;

/** Request the time from `url` if it is uncertain, after a random wait of up to `spread` milliseconds. */
export async function syncTime(url, spread = 3000) {
  if (document.hidden || !isUncertain() || performance.now() - lastRequest < PAUSE) return;
  lastRequest = performance.now();
  await new Promise((resolve) => setTimeout(resolve, Math.random() * spread));
  const sent = performance.now();
  const response = await fetch(url, { method: "HEAD", cache: "no-store" }).catch(() => null);
  if (response) learnTime(response, sent);
}
