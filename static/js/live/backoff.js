/** How long to wait before trying again, in milliseconds. Pure. */

/** Exponential backoff with full jitter: all viewers in a hall lose the server at once, so their retries are spread. */
export function backoff(attempt, { base = 1000, cap = 30000, random = Math.random } = {}) {
  return random() * Math.min(cap, base * 2 ** Math.min(attempt, 20));
}

/** The wait that a Retry-After header asks for, plus up to half of it to spread requests; null without the header. */
export function retryAfter(header, { now = Date.now(), random = Math.random } = {}) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - now) / 1000;
  if (!Number.isFinite(seconds)) return null;
  const wait = Math.min(Math.max(seconds, 0), 600) * 1000;
  return wait + random() * Math.max(wait / 2, 1000);
}
