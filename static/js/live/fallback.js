/** Asks the tally endpoint, with its ETag, every few seconds while no WebSocket gets through and somebody looks. */

import { backoff, retryAfter } from "./backoff.js";
import { learnTime } from "./server-clock.js";

const PAUSE = 3000;
const TIMEOUT = 8000;
const LATE = 3500; // what was shown before is old by then
const GLANCE = 500; // many look at their screens at the same moment

export class Fallback {
  #timer = 0;
  #etag = null;
  #failures = 0;
  #asking = false;
  running = false;

  constructor(url, handlers) {
    this.url = url;
    this.handlers = handlers;
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.#wait(0);
  }

  stop() {
    this.running = false;
    clearTimeout(this.#timer);
  }

  /** Ask before the next turn: this voter did something that changes the answer. */
  soon() {
    if (!this.running) return;
    this.#etag = null;
    this.#wait(200);
  }

  /** The page is looked at again: a hidden one doesn't ask. */
  lookedAt() {
    this.#wait(Math.random() * GLANCE);
  }

  #wait(milliseconds) {
    clearTimeout(this.#timer);
    if (this.running) this.#timer = setTimeout(() => this.#ask(), milliseconds);
  }

  async #ask() {
    if (this.#asking || document.hidden) return;
    this.#asking = true;
    const pause = await this.#once().catch(() => this.#failed(null));
    this.#asking = false;
    this.#wait(pause);
  }

  async #once() {
    const abort = new AbortController();
    const timeout = setTimeout(() => abort.abort(), TIMEOUT);
    const late = setTimeout(() => this.running && this.handlers.onFailed(), LATE);
    const sent = performance.now();
    try {
      // Our own If-None-Match works for answers that no cache may keep, too.
      const headers = this.#etag ? { "If-None-Match": this.#etag } : {};
      const response = await fetch(this.url, { headers, signal: abort.signal, cache: "no-store" });
      learnTime(response, sent);
      if (response.status === 404) return this.handlers.onGone();
      if (response.status === 304) return this.#reached();
      if (!response.ok) return this.#failed(retryAfter(response.headers.get("Retry-After")));
      const tally = await response.json();
      this.#etag = response.headers.get("ETag");
      if (this.running) this.handlers.onTally(tally);
      return this.#reached();
    } finally {
      clearTimeout(timeout);
      clearTimeout(late);
    }
  }

  #reached() {
    this.#failures = 0;
    if (this.running) this.handlers.onReached();
    return PAUSE * (0.75 + Math.random() / 2);
  }

  #failed(asked) {
    if (this.running) this.handlers.onFailed();
    return asked ?? backoff(++this.#failures, { base: PAUSE });
  }
}
