/** Merges a message into what is shown. Frames, answers to the fallback and cached pages arrive in any order, and a
 *  figure on the screen must never run backwards. Pure. */

const FIELDS = ["epoch", "revision", "version"];

/** Is `next` older than `shown`, by the fields that both have? */
function isOlder(next, shown) {
  for (const field of FIELDS) {
    const [a, b] = [next[field], shown[field]];
    if (a === undefined || b === undefined || a === b) continue;
    return a < b;
  }
  return false;
}

/** The tally to show after `next` has arrived: the newer one of the two. */
export function mergeTally(shown, next) {
  if (isOlder(next, shown)) return shown;
  const sameRevision = next.epoch === shown.epoch && next.revision === shown.revision;
  // A late answer from before the voter was entitled to see the figures doesn't hide them.
  if (sameRevision && shown.visible && !next.visible) return shown;
  return next;
}

/** The tally to show after a lifecycle message: its figures stay until the next tally arrives. */
export function mergeState(shown, message) {
  if (isOlder(message, shown)) return shown;
  const { type, ...facts } = message;
  if (message.round === shown.round) return { ...shown, ...facts };
  // Another round: the figures belong to the last one, and versions start again with the epoch.
  const { version, ballots, selections, winners, quarantined, ...rest } = shown;
  return { ...rest, ...facts, visible: undefined };
}
