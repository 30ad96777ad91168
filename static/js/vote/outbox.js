/** The outbox: a ballot is written down here before it is sent, and sent until the server has settled it.
 *
 *  It keeps its ballot_id through retries, reloads and other windows, so that it counts once however often
 *  it arrives. `pending` is what is on its way; `mine` is the last one accepted, with what it marked, which
 *  the server never tells. */

import { backoff, retryAfter } from "../live/backoff.js";

const TIMEOUT = 12000; // the server gives up a cast after 10 s

/** A random UUID. crypto.randomUUID exists only in secure contexts, and a hall may be on plain http. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Refusals by which this try wrote nothing; all others of a 5xx leave the outcome open. */
const UNWRITTEN = ["overloaded", "unavailable", "log_inconsistent", "log_unsuitable", "secret_key_differs"];
/** Refusals by the log, which would know the ballot_id; after any other one an open outcome stays open. */
const SETTLING = ["already_voted", "ballot_id_reused", "poll_not_open", "round_changed", "poll_not_found"];

/** What an answer to this ballot means: accepted, refused for good, introduced (a cookie was set), a stranger's
 *  (not a voter's, or no longer), unproven (it needs a proof of work), or to be sent again, where `busy` says
 *  that this try wrote nothing.
 *
 *  Only what is certainly the server's word is believed: a proxy or a captive portal may answer anything. */
export function readAnswer(ballot, status, document, retry) {
  const own = document?.ballot_id === ballot.ballot_id;
  if (status === 202 && own && document.receipt) return { kind: "accepted", receipt: document.receipt };
  const code = document?.status === status && document.type === `/api/errors/#${document.code}` ? document.code : "";
  if (code === "voter_unknown") return { kind: "introduced" };
  if (code === "not_eligible") return { kind: "stranger" };
  if (code === "proof_required") return { kind: "unproven" };
  const final = code && status < 500 && status !== 429;
  if (final && (!ballot.unknown || SETTLING.includes(code))) return { kind: "refused", code };
  const busy = status === 429 || UNWRITTEN.includes(code);
  return { kind: "again", busy, held: busy && status !== 429 && code !== "overloaded", wait: retry };
}

export class Outbox {
  pending = null;
  mine = null;
  sending = false;
  nextTry = 0;
  #timer = 0;
  #introduced = false;
  #asked = false;

  /** several: this device may have several voters, each with a box of their own, which opens when we meet one.
   *  prover: makes proofs of work, where the poll wants them. onChange() after anything moved;
   *  onSettled({ kind, receipt | code, ballot }) once a ballot is settled; onStranger() when the server
   *  doesn't know us as a voter any more: then meet() is awaited. */
  constructor({ root, code, several, prover, onChange, onSettled, onStranger }) {
    this.prover = prover;
    this.url = `${root}api/v1/polls/${code}/ballots/`;
    this.base = `landslide.ballot.${code}`;
    this.key = several ? null : this.base;
    this.onChange = onChange;
    this.onSettled = onSettled;
    this.onStranger = onStranger;
    this.#open();
    addEventListener("storage", (event) => event.key && event.key === this.key && this.#changedElsewhere());
    addEventListener("online", () => this.pending && !this.busy && this.#sendIn(Math.random() * 1500));
  }

  /** True once an attempt may have reached the server without our knowing. */
  get unknown() {
    return Boolean(this.pending?.unknown);
  }

  get waiting() {
    return Boolean(this.pending && this.pending.attempts > 0);
  }

  /** True while the server wants us to wait, which no impatience shortens. */
  get busy() {
    return Boolean(this.waiting && this.pending.busy);
  }

  /** True while the ballot waits for a proof of work. */
  get proving() {
    return this.sending && this.prover.working;
  }

  cast({ round, selections, replaces }) {
    this.#load(); // another window may have one on its way: that one is settled first
    if (!this.pending) {
      const ballot = { ballot_id: uuid(), round, selections };
      this.pending = { ...ballot, ...(replaces && { replaces }), attempts: 0, unknown: false };
      this.#save();
    }
    this.#introduced = this.#asked = false;
    this.send();
  }

  /** The voter endpoint's answer: it may know that a ballot of unknown outcome is in. */
  meet(voter) {
    this.#become(voter);
    if (this.pending && voter.voted && voter.ballot_id === this.pending.ballot_id) {
      this.#settle({ kind: "accepted", receipt: voter.receipt });
    } else if (!voter.voted) {
      this.mine = null;
    } else if (this.mine?.ballot_id === voter.ballot_id) {
      this.mine = { ...this.mine, receipt: voter.receipt, round: voter.round };
    } else {
      this.mine = { ballot_id: voter.ballot_id, receipt: voter.receipt, round: voter.round, selections: null };
    }
    this.#save();
    if (this.pending && voter.eligible) this.#sendIn(Math.random() * 1000);
    // Known, not let in, and without a ballot that is in: this one will never be.
    else if (this.pending) this.#settle({ kind: "refused", code: "not_eligible" });
    this.onChange();
  }

  /** Another voter's ballots stay in that voter's box: they must neither be sent nor be shown as this one's. */
  #become({ identity, tag }) {
    const several = ["login", "invite"].includes(identity);
    const key = !several ? this.base : tag ? `${this.base}.${tag}` : null;
    if (several) this.#tidy(key);
    if (key === this.key) return;
    clearTimeout(this.#timer);
    this.key = key;
    this.pending = this.mine = null;
    this.#open();
  }

  async send() {
    if (!this.pending || this.sending) return;
    clearTimeout(this.#timer);
    this.sending = true;
    this.onChange();
    const ballot = this.pending;
    const verdict = await this.#attempt(ballot);
    this.sending = false;
    if (this.pending?.ballot_id !== ballot.ballot_id) return this.onChange();
    if (verdict.kind === "stranger") return this.#unknown(ballot);
    this.#asked = false;
    if (verdict.kind === "again") return this.#again(verdict);
    if (verdict.kind === "introduced" && !this.#introduced) {
      this.#introduced = true;
      return this.send();
    }
    this.#settle(verdict.kind === "introduced" ? { kind: "refused", code: "no_cookies" } : verdict);
  }

  /** A pass ends after an hour, and accounts change. Who we are now is asked once, then the same ballot goes again. */
  #unknown(ballot) {
    this.#note(ballot, { sent: false });
    // Let in, and refused all the same: the browser drops what lets us in.
    if (this.#asked) return this.#settle({ kind: "refused", code: "no_cookies" });
    this.#asked = true;
    this.onStranger();
    this.onChange();
  }

  /** Ask once more with a new proof where the server wants one: ours may have ended, or is the first. */
  async #attempt(ballot) {
    const verdict = await this.#post(ballot, await this.prover.current());
    if (verdict.kind !== "unproven") return verdict;
    this.#note(ballot, { sent: false });
    const proof = await this.prover.renew();
    const again = proof ? await this.#post(ballot, proof) : verdict;
    return again.kind === "unproven" ? { kind: "again", busy: true, held: true, wait: null } : again;
  }

  async #post(ballot, proof) {
    const { ballot_id, round, selections, replaces } = ballot;
    this.#note(ballot, { sent: true });
    const abort = new AbortController();
    const timeout = setTimeout(() => abort.abort(), TIMEOUT);
    try {
      const response = await fetch(this.url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ ballot_id, round, selections, replaces, proof: proof ?? undefined }),
        signal: abort.signal,
      });
      const document = await response.json().catch(() => null);
      return readAnswer(ballot, response.status, document, retryAfter(response.headers.get("Retry-After")));
    } catch {
      return { kind: "again", busy: false, held: false, wait: null };
    } finally {
      clearTimeout(timeout);
    }
  }

  /** Everybody was turned away at the same time: the wait grows wider with every try, on top of what is asked. */
  #again({ busy, held, wait }) {
    const { attempts, unknown } = this.pending;
    this.#note(this.pending, { attempts: attempts + 1, unknown: unknown || !busy, busy, held, sent: false });
    this.#sendIn((wait ?? 0) + backoff(attempts));
  }

  /** Write down more about the pending ballot, unless it was settled meanwhile. */
  #note(ballot, more) {
    if (this.pending?.ballot_id !== ballot.ballot_id) return;
    this.pending = { ...this.pending, ...more };
    this.#save();
  }

  #sendIn(milliseconds) {
    clearTimeout(this.#timer);
    this.nextTry = performance.now() + milliseconds; // not moved by a clock that is set
    this.#timer = setTimeout(() => this.send(), milliseconds);
    this.onChange();
  }

  #settle(verdict) {
    const ballot = this.pending;
    const { ballot_id, round, selections, replaces } = ballot;
    this.pending = null;
    clearTimeout(this.#timer);
    if (verdict.kind === "accepted") {
      this.mine = { ballot_id, round, selections, receipt: verdict.receipt, changed: Boolean(replaces) };
    }
    this.#save();
    this.onSettled({ ...verdict, ballot });
    this.onChange();
  }

  #changedElsewhere() {
    const before = this.pending?.ballot_id;
    const hadOne = this.mine?.ballot_id;
    this.#load();
    if (before && !this.pending) clearTimeout(this.#timer);
    // The other window sends it; should it be closed before it is done, we do.
    if (this.pending && this.pending.ballot_id !== before) this.#sendIn(2 * TIMEOUT + backoff(5));
    if (this.mine && this.mine.ballot_id !== hadOne) this.onSettled({ kind: "elsewhere", ballot: this.mine });
    this.onChange();
  }

  #open() {
    this.#load();
    // The page was closed before the answer came.
    if (this.pending?.sent) this.pending = { ...this.pending, unknown: true };
  }

  /** On a shared device nobody's choice is left behind for the next one; a ballot on its way is. */
  #tidy(key) {
    try {
      for (const other of Object.keys(localStorage).filter((name) => name.startsWith(`${this.base}.`) && name !== key)) {
        const { pending = null } = JSON.parse(localStorage.getItem(other)) || {};
        if (pending) localStorage.setItem(other, JSON.stringify({ pending, mine: null }));
        else localStorage.removeItem(other);
      }
    } catch {
      // As below.
    }
  }

  #load() {
    if (this.key === null) return;
    try {
      const { pending = null, mine = null } = JSON.parse(localStorage.getItem(this.key)) || {};
      // A newer attempt of ours is not undone by what another window wrote before it.
      this.pending = pending;
      this.mine = mine;
    } catch {
      // Storage is blocked or broken: what is in memory is all there is.
    }
  }

  #save() {
    if (this.key === null) return;
    try {
      localStorage.setItem(this.key, JSON.stringify({ pending: this.pending, mine: this.mine }));
    } catch {
      // As above. The ballot is still retried for as long as the page is open.
    }
  }
}
