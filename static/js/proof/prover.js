/** Computes proofs of work (ALTCHA's protocol) for this voter, in a worker that runs search.js. */

import { timedFetch } from "../live/timed-fetch.js";
import { search } from "./search.js";

const TIMEOUT = 8000;
const WORKER_TIMEOUT = 60000;
const CHUNK = 2000; // without a worker: how many numbers to try before the page handles events again

// With Trusted Types, script addresses must come from a policy that the server has named.
const policy = globalThis.trustedTypes?.createPolicy("proof-worker", { createScriptURL: (url) => url });

export class Prover {
  #proof = Promise.resolve(null);
  #works = 0;

  /** workerUrl: the address of worker.js; onChange(): called when `working` changes. */
  constructor({ challengeUrl, workerUrl, onChange }) {
    this.challengeUrl = challengeUrl;
    this.workerUrl = workerUrl;
    this.onChange = onChange;
  }

  get working() {
    return this.#works > 0;
  }

  /** Start to solve this challenge. A ballot that is cast meanwhile waits for the proof. */
  begin(challenge) {
    this.#proof = this.#prove(challenge);
  }

  /** Return a promise of the latest proof; null if there is none. */
  current() {
    return this.#proof;
  }

  /** Compute a proof for a new challenge; null if that fails. */
  renew() {
    this.#proof = this.#fetch().then((challenge) => challenge && this.#prove(challenge));
    return this.#proof;
  }

  #fetch() {
    const read = (response) => (response.ok ? response.json() : null);
    return timedFetch(this.challengeUrl, { timeout: TIMEOUT }, read).catch(() => null);
  }

  async #prove({ algorithm, challenge, maxnumber, salt, signature }) {
    this.#count(1);
    try {
      const task = { challenge, maxnumber, salt };
      const number = await this.#inWorker(task).catch(() => searchInChunks(task));
      return number === null ? null : btoa(JSON.stringify({ algorithm, challenge, number, salt, signature }));
    } catch {
      return null;
    } finally {
      this.#count(-1);
    }
  }

  #count(change) {
    this.#works += change;
    this.onChange();
  }

  #inWorker(task) {
    return new Promise((resolve, reject) => {
      const worker = new Worker(policy?.createScriptURL(this.workerUrl) ?? this.workerUrl, { type: "module" });
      const end = (settle) => (event) => (worker.terminate(), clearTimeout(timer), settle(event?.data));
      const timer = setTimeout(end(reject), WORKER_TIMEOUT);
      worker.addEventListener("message", end(resolve));
      worker.addEventListener("error", end(reject));
      worker.postMessage(task);
    });
  }
}

async function searchInChunks(task) {
  for (let from = 0; from <= task.maxnumber; from += CHUNK) {
    const number = search(task, from, Math.min(from + CHUNK, task.maxnumber + 1));
    if (number !== null) return number;
    await new Promise((resolve) => setTimeout(resolve));
  }
  return null;
}
