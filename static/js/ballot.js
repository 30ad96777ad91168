/** The outbox: a ballot is written down here before it is sent, and sent until the server has settled it.
 *
 *  It keeps its ballot_id through retries, reloads and other windows, so that it counts once however often
 *  it arrives. `pending` is what is on its way; `mine` is the last one accepted, with what it marked, which
 *  the server never tells. */

import { backoff, retryAfter } from "./backoff.js";

const TIMEOUT = 12000; // the server gives up a cast after 10 s

/** A random UUID. crypto.randomUUID exists only in secure contexts, and a hall may be on plain http. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** What an answer means: accepted, refused for good, introduced (a cookie was set), or to be sent again. */
export function judge(status, document, retry) {
  if (status === 202 && document?.receipt) return { kind: "accepted", receipt: document.receipt };
  const code = document?.code;
  if (status === 401 && code === "voter_unknown") return { kind: "introduced" };
  if (code && status >= 400 && status < 500 && status !== 429) return { kind: "refused", code };
  // Overloaded and rate-limited say that nothing was written. All else may have been: a proxy's error
  // page, a captive portal's 200, a time-out.
  const busy = status === 429 || code === "overloaded" || code === "log_inconsistent";
  return { kind: "again", busy, wait: retry };
}

export class Outbox {
  pending = null;
  mine = null;
  sending = false;
  nextTry = 0;
  #timer = 0;
  #introduced = false;

  /** onChange() after anything moved; onSettled({ kind, receipt | code, ballot }) once a ballot is settled. */
  constructor({ root, code, onChange, onSettled }) {
    this.url = `${root}api/v1/polls/${code}/ballots/`;
    this.key = `landslide.ballot.${code}`;
    this.onChange = onChange;
    this.onSettled = onSettled;
    this.#load();
    addEventListener("storage", (event) => event.key === this.key && this.#changedElsewhere());
    addEventListener("online", () => this.pending && this.#sendIn(Math.random() * 1500));
  }

  /** True once an attempt may have reached the server without our knowing. */
  get unknown() {
    return Boolean(this.pending?.unknown);
  }

  get waiting() {
    return Boolean(this.pending && this.pending.attempts > 0);
  }

  cast({ round, selections, replaces }) {
    this.#load(); // another window may have one on its way: that one is settled first
    if (!this.pending) {
      const ballot = { ballot_id: uuid(), round, selections };
      this.pending = { ...ballot, ...(replaces && { replaces }), attempts: 0, unknown: false };
      this.#save();
    }
    this.#introduced = false;
    this.send();
  }

  /** The voter endpoint's answer: it may know that a ballot of unknown outcome is in. */
  meet(voter) {
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
    if (this.pending) this.#sendIn(Math.random() * 1000);
    this.onChange();
  }

  async send() {
    if (!this.pending || this.sending) return;
    clearTimeout(this.#timer);
    this.sending = true;
    this.onChange();
    const ballot = this.pending;
    const verdict = await this.#post(ballot);
    this.sending = false;
    if (this.pending?.ballot_id !== ballot.ballot_id) return this.onChange();
    if (verdict.kind === "again") return this.#again(verdict);
    if (verdict.kind === "introduced" && !this.#introduced) {
      this.#introduced = true;
      return this.send();
    }
    this.#settle(verdict.kind === "introduced" ? { kind: "refused", code: "no_cookies" } : verdict);
  }

  async #post({ attempts, unknown, ...ballot }) {
    const abort = new AbortController();
    const timeout = setTimeout(() => abort.abort(), TIMEOUT);
    try {
      const response = await fetch(this.url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(ballot),
        signal: abort.signal,
      });
      const document = await response.json().catch(() => null);
      return judge(response.status, document, retryAfter(response.headers.get("Retry-After")));
    } catch {
      return { kind: "again", busy: false, wait: null };
    } finally {
      clearTimeout(timeout);
    }
  }

  #again({ busy, wait }) {
    const { attempts, unknown } = this.pending;
    this.pending = { ...this.pending, attempts: attempts + 1, unknown: unknown || !busy };
    this.#save();
    this.#sendIn(wait ?? backoff(attempts));
  }

  #sendIn(milliseconds) {
    clearTimeout(this.#timer);
    this.nextTry = Date.now() + milliseconds;
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
    if (this.mine && this.mine.ballot_id !== hadOne) this.onSettled({ kind: "elsewhere", ballot: this.mine });
    this.onChange();
  }

  #load() {
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
    try {
      localStorage.setItem(this.key, JSON.stringify({ pending: this.pending, mine: this.mine }));
    } catch {
      // As above. The ballot is still retried for as long as the page is open.
    }
  }
}
