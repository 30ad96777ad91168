/** Merges a message into the tally that is shown. Frames, the fallback's answers and cached pages arrive in any order,
 *  but an older tally must never replace a newer one on the screen. Pure. */

const FIELDS = ["epoch", "revision", "version"];

/** Tell whether `next` is older than `shown`, by the fields that both have. */
function isOlder(next, shown) {
  for (const field of FIELDS) {
    const [a, b] = [next[field], shown[field]];
    if (a === undefined || b === undefined || a === b) continue;
    return a < b;
  }
  return false;
}

/** Return the newer of two tallies. */
export function mergeTally(shown, next) {
  if (isOlder(next, shown)) return shown;
  const sameRevision = next.epoch === shown.epoch && next.revision === shown.revision;
  // `next` may be a late answer from before this voter was allowed to see the figures.
  if (sameRevision && shown.visible && !next.visible) return shown;
  return next;
}

/** Return the tally after a lifecycle message. Its figures stay until the next tally arrives. */
export function mergeState(shown, message) {
  if (isOlder(message, shown)) return shown;
  const { type, ...facts } = message;
  if (message.round === shown.round) return { ...shown, ...facts };
  // The figures belong to the previous round. In a new epoch, versions start again from zero.
  const { version, ballots, winners, quarantined, ...rest } = shown;
  return { ...rest, ...facts, visible: undefined };
}
