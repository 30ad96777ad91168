/** Interprets the server's answer to a ballot. Pure. */

/** Refusals after which this attempt wrote nothing. After any other 5xx the outcome is unknown. */
const UNWRITTEN = ["overloaded", "unavailable", "log_inconsistent", "log_unsuitable", "secret_key_differs"];
/** Refusals by the vote log, which knows accepted ballot_ids: they settle an unknown outcome of an earlier attempt. */
const SETTLING = ["already_voted", "ballot_id_reused", "poll_not_open", "round_changed", "poll_not_found"];
/** Refusals that the page can recover from, to send the same ballot again. */
const RECOVERABLE = ["voter_unknown", "not_eligible", "proof_required"];

export const UNREACHED = { kind: "retry", busy: false, held: false, wait: null };

/** Return { kind }: "accepted" with the receipt, "refused" for good with a code, one of RECOVERABLE, or "retry".
 *
 *  A retry has `busy` (this attempt wrote nothing), `held` (a fault, not a crowd, holds up voting) and `wait`. Only
 *  documents in the server's own format are believed: a proxy or captive portal may answer anything. */
export function readAnswer(ballot, status, document, wait) {
  const own = document?.ballot_id === ballot.ballot_id;
  if (status === 202 && own && document.receipt) return { kind: "accepted", receipt: document.receipt };
  const code = document?.status === status && document.type === `/api/errors/#${document.code}` ? document.code : "";
  if (RECOVERABLE.includes(code)) return { kind: code };
  const final = code && status < 500 && status !== 429;
  if (final && (!ballot.unknown || SETTLING.includes(code))) return { kind: "refused", code };
  const busy = status === 429 || UNWRITTEN.includes(code);
  return { kind: "retry", busy, held: busy && status !== 429 && code !== "overloaded", wait };
}
