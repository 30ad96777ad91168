/** The outbox: a ballot is stored here before it is sent, and sent until the server has settled it.
 *
 *  It keeps its ballot_id through retries, reloads and other windows, so that it counts once however often it arrives.
 *  `pending` is the ballot on its way; `mine` is the last accepted one, with its selections, which the server never
 *  tells. A device with several voters has a box for each, under a key of its own in localStorage. */

import { backoff, retryAfter } from "../live/backoff.js";
import { timedFetch } from "../live/timed-fetch.js";
import { readStored, store, storedKeys } from "../page/storage.js";
import { readAnswer, UNREACHED } from "./answer.js";

const TIMEOUT = 12000; // the server gives up a cast after 10 s
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
  #handled = new Set(); // refusals of the pending ballot that the page has already done something about

  /** several: the device may have several voters, and which box to open is known from setVoter() on.
   *  prover: makes proofs of work where the poll wants them. onChange() after anything changed;
   *  onSettled({ kind, code, ballot }) once a ballot is accepted, refused, or was cast "elsewhere" (another window);
   *  onVoterRefused() when the server doesn't accept this voter any more: then it waits for setVoter(). */
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

  cast({ round, selections, replaces }) {
    this.#load(); // another window may have a ballot on its way: that one is settled first
    if (!this.#pending) {
      const ballot = { ballot_id: uuid(), round, selections };
      this.#pending = { ...ballot, ...(replaces && { replaces }), attempts: 0, unknown: false };
      this.#save();
    }
    this.#handled.clear();
    this.send();
  }

  /** Take the voter endpoint's answer: it may know that a ballot of unknown outcome was accepted. */
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
    // The voter may not vote and has no accepted ballot, so this one will never be accepted.
    else if (this.#pending) this.#settle({ kind: "refused", code: "not_eligible" });
    this.onChange();
  }

  /** Another voter's ballots stay in that voter's box: this voter must neither send nor see them. */
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
    // Another window or the voter endpoint has settled it meanwhile.
    if (this.#pending?.ballot_id !== ballot.ballot_id) return this.onChange();
    if (answer.kind !== "not_eligible") this.#handled.delete("not_eligible");
    if (["voter_unknown", "not_eligible"].includes(answer.kind)) return this.#handleRefusal(answer.kind);
    if (answer.kind === "retry") this.#retry(answer);
    else this.#settle(answer);
  }

  /** Send the ballot again, once, after what made the server refuse the voter. An unknown voter has just got a cookie.
   *  Passes end after an hour and accounts change, so one who isn't eligible asks the voter endpoint first. */
  #handleRefusal(refusal) {
    if (refusal === "not_eligible") this.#update(this.#pending, { sent: false });
    // The second time: the browser drops the cookie or pass that it was given.
    if (this.#handled.has(refusal)) return this.#settle({ kind: "refused", code: "no_cookies" });
    this.#handled.add(refusal);
    if (refusal === "voter_unknown") return this.send();
    this.onVoterRefused();
    this.onChange();
  }

  /** Post the ballot; once more with a new proof of work if the server wants one: ours may have expired. */
  async #attempt(ballot) {
    const answer = await this.#post(ballot, await this.prover.current());
    if (answer.kind !== "proof_required") return answer;
    this.#update(ballot, { sent: false });
    const proof = await this.prover.renew();
    const again = proof ? await this.#post(ballot, proof) : answer;
    return again.kind === "proof_required" ? { ...UNREACHED, busy: true, held: true } : again;
  }

  #post(ballot, proof) {
    const { ballot_id, round, selections, replaces } = ballot;
    this.#update(ballot, { sent: true });
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ ballot_id, round, selections, replaces, proof: proof ?? undefined });
    const read = async (response) => {
      const document = await response.json().catch(() => null);
      return readAnswer(ballot, response.status, document, retryAfter(response.headers.get("Retry-After")));
    };
    return timedFetch(this.url, { method: "POST", headers, body, timeout: TIMEOUT }, read).catch(() => UNREACHED);
  }

  /** Wait longer with each attempt, on top of what the server asks: everybody was turned away at the same time. */
  #retry({ busy, held, wait }) {
    const { attempts, unknown } = this.#pending;
    this.#update(this.#pending, { attempts: attempts + 1, unknown: unknown || !busy, busy, held, sent: false });
    this.#sendIn((wait ?? 0) + backoff(attempts));
  }

  /** Store more about the pending ballot, unless it was settled meanwhile. */
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
    // The other window sends it. If that window is closed before it is done, this one does.
    if (this.#pending && this.#pending.ballot_id !== pendingBefore) this.#sendIn(2 * TIMEOUT + backoff(5));
    if (this.#mine && this.#mine.ballot_id !== mineBefore) this.onSettled({ kind: "elsewhere", ballot: this.#mine });
    this.onChange();
  }

  #open() {
    this.#load();
    // The page was closed before the answer came.
    if (this.#pending?.sent) this.#pending = { ...this.#pending, unknown: true };
  }

  /** On a shared device nobody's selections are left for the next person; ballots on their way are. */
  #tidy(key) {
    for (const other of storedKeys(`${this.base}.`).filter((name) => name !== key)) {
      const pending = readStored(other)?.pending;
      store(other, pending ? { pending, mine: null } : null);
    }
  }

  #load() {
    const stored = this.isOpen ? readStored(this.key) : undefined;
    if (stored === undefined) return; // without storage, the box lasts as long as the page
    this.#pending = stored?.pending ?? null;
    this.#mine = stored?.mine ?? null;
  }

  #save() {
    if (this.isOpen) store(this.key, { pending: this.#pending, mine: this.#mine });
  }
}
