/** How long to wait before trying again. Everyone in a hall loses the same server at the same moment,
 *  so they come back anywhere between at once and the ceiling, which doubles with each attempt: the
 *  wider they spread, the fewer come in the same moment. Pure; milliseconds. */

export function backoff(attempt, { base = 1000, cap = 30000, random = Math.random } = {}) {
  const ceiling = Math.min(cap, base * 2 ** Math.min(attempt, 20));
  return random() * ceiling;
}

/** What a Retry-After header asks for, spread over half as much again; null without one. */
export function retryAfter(header, { now = Date.now(), random = Math.random } = {}) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - now) / 1000;
  if (!Number.isFinite(seconds)) return null;
  const wait = Math.min(Math.max(seconds, 0), 600) * 1000;
  return wait + random() * Math.max(wait / 2, 1000);
}
