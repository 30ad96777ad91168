/** A proof of work for this voter: asked for ahead or by a refusal, made in a worker.
 *
 *  The protocol is ALTCHA's; the work is in search.js. */

import { search } from "./search.js";

const TIMEOUT = 8000;
const PATIENCE = 60000; // with a worker that says nothing
const STRETCH = 2000; // numbers tried between two moments for the page, where there is no worker

// With Trusted Types a page starts what a policy that the server named lets through.
const policy = globalThis.trustedTypes?.createPolicy("proof-worker", { createScriptURL: (url) => url });

export class Prover {
  #proof = Promise.resolve(null);
  #works = 0;

  /** challengeUrl: where challenges are; workerUrl: of worker.js; onChange() when `working` changes. */
  constructor({ challengeUrl, workerUrl, onChange }) {
    this.challengeUrl = challengeUrl;
    this.workerUrl = workerUrl;
    this.onChange = onChange;
  }

  get working() {
    return this.#works > 0;
  }

  /** Work on this challenge; a ballot that is cast meanwhile waits for it. */
  begin(challenge) {
    this.#proof = this.#prove(challenge);
  }

  /** The proof that is at hand or being made; null where there is none. */
  current() {
    return this.#proof;
  }

  /** Another proof in its place; null where no challenge is to be had or it has no solution. */
  renew() {
    this.#proof = this.#fetch().then((challenge) => challenge && this.#prove(challenge));
    return this.#proof;
  }

  async #fetch() {
    const abort = new AbortController();
    const timeout = setTimeout(() => abort.abort(), TIMEOUT);
    try {
      const response = await fetch(this.challengeUrl, { signal: abort.signal, cache: "no-store" });
      return response.ok ? await response.json() : null;
    } catch {
      return null;
    } finally {
      clearTimeout(timeout);
    }
  }

  async #prove({ algorithm, challenge, maxnumber, salt, signature }) {
    this.#count(1);
    try {
      const number = await this.#solve({ challenge, maxnumber, salt });
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

  #solve(task) {
    return this.#inWorker(task).catch(() => inStretches(task));
  }

  #inWorker(task) {
    return new Promise((resolve, reject) => {
      const worker = new Worker(policy?.createScriptURL(this.workerUrl) ?? this.workerUrl, { type: "module" });
      const end = (settle) => (event) => (worker.terminate(), clearTimeout(timer), settle(event?.data));
      const timer = setTimeout(end(reject), PATIENCE);
      worker.addEventListener("message", end(resolve));
      worker.addEventListener("error", end(reject));
      worker.postMessage(task);
    });
  }
}

async function inStretches(task) {
  for (let from = 0; from <= task.maxnumber; from += STRETCH) {
    const number = search(task, from, Math.min(from + STRETCH, task.maxnumber + 1));
    if (number !== null) return number;
    await new Promise((resolve) => setTimeout(resolve));
  }
  return null;
}
