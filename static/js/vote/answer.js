/** What the server's answer to a ballot means. Pure. */

/** Refusals that say that this attempt wrote nothing; any other 5xx leaves the outcome open. */
const UNWRITTEN = ["overloaded", "unavailable", "log_inconsistent", "log_unsuitable", "secret_key_differs"];
/** Refusals by the vote log, which would know the ballot_id. After any other refusal an open outcome stays open. */
const SETTLING = ["already_voted", "ballot_id_reused", "poll_not_open", "round_changed", "poll_not_found"];
/** Refusals that the page can do something about, and then send the same ballot again. */
const RECOVERABLE = ["voter_unknown", "not_eligible", "proof_required"];

export const UNREACHED = { kind: "retry", busy: false, held: false, wait: null };

/** → { kind }: "accepted" with the receipt, "refused" for good with the error's code, one of RECOVERABLE, or "retry".
 *
 *  A retry says whether this attempt wrote nothing (`busy`), whether voting is held up rather than crowded (`held`) and
 *  how long to wait. Only what is certainly the server's word is believed: a proxy or a captive portal may answer
 *  anything. */
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
