/** Which of two messages is newer. Frames, answers of the fall-back and pages from a cache may arrive in any
 *  order; a figure on the screen must never run backwards. Pure. */

const FIELDS = ["epoch", "revision", "version"];

/** Is `next` older than `shown`, by the fields that both have? */
export function isOlder(next, shown) {
  for (const field of FIELDS) {
    const [a, b] = [next[field], shown[field]];
    if (a === undefined || b === undefined || a === b) continue;
    return a < b;
  }
  return false;
}

/** What to show after a tally has arrived: `next`, or what was shown if that is newer. */
export function mergeTally(shown, next) {
  if (isOlder(next, shown)) return shown;
  const sameMoment = next.epoch === shown.epoch && next.revision === shown.revision;
  // A late answer to somebody not yet entitled takes nothing away from who already is.
  if (sameMoment && shown.visible && !next.visible) return shown;
  return next;
}

/** What to show after a lifecycle message: the figures stay until the tally that follows it. */
export function mergeState(shown, message) {
  if (isOlder(message, shown)) return shown;
  const { type, ...facts } = message;
  if (message.round === shown.round) return { ...shown, ...facts };
  // Another round: what is shown belongs to the last one. Versions start anew with the epoch.
  const { version, ballots, selections, winners, quarantined, ...rest } = shown;
  return { ...rest, ...facts, visible: undefined };
}
