/** The outbox: stores a ballot before it is sent, and sends it until the server has accepted or refused it.
 *
 *  A ballot keeps its ballot_id through retries, reloads and other windows, so it counts once however often it arrives.
 *  `pending` is the unsettled ballot; `mine` is the last accepted one, with its selections, which the server never
 *  reveals. On a device with several voters each has an outbox under its own key in localStorage. */

import { backoff, retryAfter } from "../live/backoff.js";
import { timedFetch } from "../live/timed-fetch.js";
import { readStored, store, storedKeys } from "../page/storage.js";
import { readAnswer, UNREACHED } from "./answer.js";

const TIMEOUT = 12000; // the server's own limit for a cast is 10 s
const ONLINE_SPREAD = 1500; // a hall's Wi-Fi comes back for everyone at once

/** A random UUID. crypto.randomUUID exists only in secure contexts, and a hall may be on plain http. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export class Outbox {
  #pending = null;
  #mine = null;
  #sending = false;
  #nextTry = 0; // by performance.now()
  #timer = 0;
  #handled = new Set(); // refusals of the pending ballot that were already handled

  /** several: whether the device may have several voters; if so, the outbox opens with setVoter().
   *  prover: computes proofs of work.
   *  onChange(): called after each change.
   *  onSettled({ kind, code, ballot }): called once a ballot is "accepted", "refused" or cast "elsewhere" (in another
   *  window).
   *  onVoterRefused(): called when the server no longer accepts this voter. The outbox then waits for setVoter(). */
  constructor({ root, code, several, prover, onChange, onSettled, onVoterRefused }) {
    this.prover = prover;
    this.url = `${root}api/v1/polls/${code}/ballots/`;
    this.base = `landslide.ballot.${code}`;
    this.key = several ? null : this.base;
    this.onChange = onChange;
    this.onSettled = onSettled;
    this.onVoterRefused = onVoterRefused;
    this.#open();
    addEventListener("storage", (event) => event.key && event.key === this.key && this.#changedElsewhere());
    addEventListener("online", () => this.#pending && !this.#pending.busy && this.#sendIn(Math.random() * ONLINE_SPREAD));
  }

  get state() {
    const sending = this.#sending;
    return { pending: this.#pending, mine: this.#mine, sending, proving: sending && this.prover.working, nextTry: this.#nextTry };
  }

  get isOpen() {
    return this.key !== null;
  }

  /** selections: the marks, as the method's form has them; content: the same as members of the ballot's document. */
  cast({ round, selections, content, replaces }) {
    this.#load(); // a ballot that another window is sending comes first
    if (!this.#pending) {
      const ballot = { ballot_id: uuid(), round, selections, content };
      this.#pending = { ...ballot, ...(replaces && { replaces }), attempts: 0, unknown: false };
      this.#save();
    }
    this.#handled.clear();
    this.send();
  }

  /** Set the voter from the voter endpoint's answer, which may show that a ballot of unknown outcome was accepted. */
  setVoter(voter) {
    this.#openFor(voter);
    const { ballot_id, receipt, round } = voter;
    if (this.#pending && voter.voted && ballot_id === this.#pending.ballot_id) {
      this.#settle({ kind: "accepted", receipt });
    } else if (!voter.voted) {
      this.#mine = null;
    } else {
      const known = this.#mine?.ballot_id === ballot_id ? this.#mine : { selections: null };
      this.#mine = { ...known, ballot_id, receipt, round };
    }
    this.#save();
    if (this.#pending && voter.eligible) this.#sendIn(Math.random() * 1000);
    // This voter isn't eligible, so the ballot will never be accepted.
    else if (this.#pending) this.#settle({ kind: "refused", code: "not_eligible" });
    this.onChange();
  }

  /** Open this voter's outbox: a voter must neither send nor see another voter's ballots. */
  #openFor({ identity, tag }) {
    const several = ["login", "invite"].includes(identity);
    const key = !several ? this.base : tag ? `${this.base}.${tag}` : null;
    if (several) this.#tidy(key);
    if (key === this.key) return;
    clearTimeout(this.#timer);
    this.key = key;
    this.#pending = this.#mine = null;
    this.#open();
  }

  async send() {
    if (!this.#pending || this.#sending) return;
    clearTimeout(this.#timer);
    this.#sending = true;
    this.onChange();
    const ballot = this.#pending;
    const answer = await this.#attempt(ballot);
    this.#sending = false;
    // Another window or the voter endpoint has settled this ballot in the meantime.
    if (this.#pending?.ballot_id !== ballot.ballot_id) return this.onChange();
    if (answer.kind !== "not_eligible") this.#handled.delete("not_eligible");
    if (["voter_unknown", "not_eligible"].includes(answer.kind)) return this.#handleRefusal(answer.kind);
    if (answer.kind === "retry") this.#retry(answer);
    else this.#settle(answer);
  }

  /** Handle a refusal of the voter and send the ballot once more. An unknown voter has just received a cookie. If the
   *  voter isn't eligible, request the voter endpoint first: the pass may have expired, or the account changed. */
  #handleRefusal(refusal) {
    if (refusal === "not_eligible") this.#update(this.#pending, { sent: false });
    // A second refusal: the browser doesn't keep the cookie or pass.
    if (this.#handled.has(refusal)) return this.#settle({ kind: "refused", code: "no_cookies" });
    this.#handled.add(refusal);
    if (refusal === "voter_unknown") return this.send();
    this.onVoterRefused();
    this.onChange();
  }

  /** Post the ballot. If the server requires a proof of work (ours may have expired), post it again with a new one. */
  async #attempt(ballot) {
    const answer = await this.#post(ballot, await this.prover.current());
    if (answer.kind !== "proof_required") return answer;
    this.#update(ballot, { sent: false });
    const proof = await this.prover.renew();
    const again = proof ? await this.#post(ballot, proof) : answer;
    return again.kind === "proof_required" ? { ...UNREACHED, busy: true, held: true } : again;
  }

  #post(ballot, proof) {
    // A ballot that an earlier version stored has no content.
    const { ballot_id, round, selections, content = { selections }, replaces } = ballot;
    this.#update(ballot, { sent: true });
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ ballot_id, round, ...content, replaces, proof: proof ?? undefined });
    const read = async (response) => {
      const document = await response.json().catch(() => null);
      return readAnswer(ballot, response.status, document, retryAfter(response.headers.get("Retry-After")));
    };
    return timedFetch(this.url, { method: "POST", headers, body, timeout: TIMEOUT }, read).catch(() => UNREACHED);
  }

  /** Retry after the server's wait plus a backoff that spreads voters who were refused at the same time. */
  #retry({ busy, held, wait }) {
    const { attempts, unknown } = this.#pending;
    this.#update(this.#pending, { attempts: attempts + 1, unknown: unknown || !busy, busy, held, sent: false });
    this.#sendIn((wait ?? 0) + backoff(attempts));
  }

  /** Update the pending ballot, unless it was settled in the meantime. */
  #update(ballot, more) {
    if (this.#pending?.ballot_id !== ballot.ballot_id) return;
    this.#pending = { ...this.#pending, ...more };
    this.#save();
  }

  #sendIn(milliseconds) {
    clearTimeout(this.#timer);
    this.#nextTry = performance.now() + milliseconds;
    this.#timer = setTimeout(() => this.send(), milliseconds);
    this.onChange();
  }

  #settle(verdict) {
    const ballot = this.#pending;
    const { ballot_id, round, selections, replaces } = ballot;
    this.#pending = null;
    clearTimeout(this.#timer);
    if (verdict.kind === "accepted") {
      this.#mine = { ballot_id, round, selections, receipt: verdict.receipt, changed: Boolean(replaces) };
    }
    this.#save();
    this.onSettled({ ...verdict, ballot });
  }

  #changedElsewhere() {
    const [pendingBefore, mineBefore] = [this.#pending?.ballot_id, this.#mine?.ballot_id];
    this.#load();
    if (pendingBefore && !this.#pending) clearTimeout(this.#timer);
    // The other window sends this ballot. If that window is closed first, this window sends it.
    if (this.#pending && this.#pending.ballot_id !== pendingBefore) this.#sendIn(2 * TIMEOUT + backoff(5));
    if (this.#mine && this.#mine.ballot_id !== mineBefore) this.onSettled({ kind: "elsewhere", ballot: this.#mine });
    this.onChange();
  }

  #open() {
    this.#load();
    // The page was closed before the answer came.
    if (this.#pending?.sent) this.#pending = { ...this.#pending, unknown: true };
  }

  /** Delete other voters' accepted ballots, whose selections the next person must not see. Keep unsent ballots. */
  #tidy(key) {
    for (const other of storedKeys(`${this.base}.`).filter((name) => name !== key)) {
      const pending = readStored(other)?.pending;
      store(other, pending ? { pending, mine: null } : null);
    }
  }

  #load() {
    const stored = this.isOpen ? readStored(this.key) : undefined;
    if (stored === undefined) return; // without storage, the outbox lasts as long as the page
    this.#pending = stored?.pending ?? null;
    this.#mine = stored?.mine ?? null;
  }

  #save() {
    if (this.isOpen) store(this.key, { pending: this.#pending, mine: this.#mine });
  }
}
