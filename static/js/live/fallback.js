/** Fallback for the WebSocket: requests the tally every few seconds, with its ETag, while the page is visible. */

import { backoff, retryAfter } from "./backoff.js";
import { learnTime } from "./server-clock.js";
import { timedFetch } from "./timed-fetch.js";

const PAUSE = 3000;
const TIMEOUT = 8000;
const LATE = 3500; // without an answer after this time, the connection isn't shown as live
const VISIBLE_SPREAD = 500; // all viewers in a hall look at their screens at the same moment

export class Fallback {
  #timer = 0;
  #etag = null;
  #failures = 0;
  #requesting = false;
  running = false;

  /** handlers: onTally(tally), onReached(), onFailed(), onGone(). */
  constructor(url, handlers) {
    this.url = url;
    this.handlers = handlers;
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.#requestIn(0);
  }

  stop() {
    this.running = false;
    clearTimeout(this.#timer);
  }

  /** Request the whole tally soon: this voter may now see more of it. */
  recheck() {
    if (!this.running) return;
    this.#etag = null;
    this.#requestIn(200);
  }

  /** Request the tally again: while the page was hidden, nothing was requested. */
  onVisible() {
    this.#requestIn(Math.random() * VISIBLE_SPREAD);
  }

  #requestIn(milliseconds) {
    clearTimeout(this.#timer);
    if (this.running) this.#timer = setTimeout(() => this.#request(), milliseconds);
  }

  async #request() {
    if (this.#requesting || document.hidden) return;
    this.#requesting = true;
    const late = setTimeout(() => this.running && this.handlers.onFailed(), LATE);
    const sent = performance.now();
    // The browser sends no ETag for answers that it must not cache, so we send it ourselves.
    const headers = this.#etag ? { "If-None-Match": this.#etag } : {};
    const read = (response) => this.#read(response, sent);
    const pause = await timedFetch(this.url, { headers, timeout: TIMEOUT }, read).catch(() => this.#failed(null));
    clearTimeout(late);
    this.#requesting = false;
    this.#requestIn(pause);
  }

  /** Process an answer; return the pause until the next request. */
  async #read(response, sent) {
    learnTime(response, sent);
    if (response.status === 404) return this.handlers.onGone();
    if (response.status === 304) return this.#reached();
    if (!response.ok) return this.#failed(retryAfter(response.headers.get("Retry-After")));
    const tally = await response.json();
    this.#etag = response.headers.get("ETag");
    if (this.running) this.handlers.onTally(tally);
    return this.#reached();
  }

  #reached() {
    this.#failures = 0;
    if (this.running) this.handlers.onReached();
    return PAUSE * (0.75 + Math.random() / 2);
  }

  #failed(wait) {
    if (this.running) this.handlers.onFailed();
    return wait ?? backoff(++this.#failures, { base: PAUSE });
  }
}
