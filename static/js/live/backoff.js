/** How long to wait before trying again, in milliseconds. Pure. */

/** Exponential backoff with full jitter. A hall loses the same server at the same moment: a wait between nothing and a
 *  ceiling that doubles with each attempt spreads its requests. */
export function backoff(attempt, { base = 1000, cap = 30000, random = Math.random } = {}) {
  return random() * Math.min(cap, base * 2 ** Math.min(attempt, 20));
}

/** What a Retry-After header asks for, and up to half of it more, to spread requests; null without the header. */
export function retryAfter(header, { now = Date.now(), random = Math.random } = {}) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - now) / 1000;
  if (!Number.isFinite(seconds)) return null;
  const wait = Math.min(Math.max(seconds, 0), 600) * 1000;
  return wait + random() * Math.max(wait / 2, 1000);
}
