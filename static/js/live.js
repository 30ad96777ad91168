/** Everything live comes over one WebSocket; where none gets through, the tally endpoint is asked instead.
 *
 *  onTally(tally), onState(message), onViewers(count), onStatus("live" | "reconnecting" | "offline"), onGone().
 *  Nothing here is asked for because something happened to the poll: a closing must not make a hall refetch. */

import { backoff } from "./backoff.js";
import { Fallback } from "./fallback.js";

const SILENCE = 40000; // the server speaks at least every 15 s
const FAILURES_BEFORE_FALLBACK = 3;
const SPREAD = 1500; // a hall is back within so many milliseconds of the server
const NO_SUCH_POLL = 4404;
const FOREIGN_ORIGIN = 4403;

export class Live {
  #socket = null;
  #failures = 0;
  #retry = 0;
  #silence = 0;
  #stopped = true;
  #refused = false;

  constructor({ root, code, ...handlers }) {
    const address = new URL(`${root}ws/polls/${code}/`, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    this.address = address.href;
    this.handlers = handlers;
    this.fallback = new Fallback(`${root}api/v1/polls/${code}/tally/`, {
      onTally: (tally) => handlers.onTally(tally),
      onReached: () => this.#status("live"),
      onFailed: () => this.#status(navigator.onLine === false ? "offline" : "reconnecting"),
      onGone: () => this.#gone(),
    });
    addEventListener("online", () => this.#back());
    addEventListener("offline", () => this.#status("offline"));
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    // An open socket would keep the page out of the back/forward cache.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && !this.#stopped && this.#open());
  }

  start() {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#open();
  }

  stop() {
    this.#stopped = true;
    this.#close();
    this.fallback.stop();
  }

  /** This voter's ballot is in: the server may now show what it showed nobody else. */
  recheck() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send('{"type":"recheck"}');
    else this.fallback.soon();
  }

  /** The socket was opened without the voter's cookie, which the server reads only then. */
  reopen() {
    if (this.#stopped) return;
    this.#close();
    this.#open();
  }

  #open() {
    if (this.#stopped || this.#socket || this.#refused) return;
    clearTimeout(this.#retry);
    let socket;
    try {
      socket = new WebSocket(this.address);
    } catch {
      return this.#lost();
    }
    this.#socket = socket;
    this.#listen();
    socket.onmessage = (event) => this.#socket === socket && this.#message(event.data);
    socket.onclose = (event) => this.#socket === socket && this.#closed(event.code);
  }

  #close() {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.#close();
      this.#lost();
    }, SILENCE);
  }

  #message(data) {
    this.#listen();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    this.#failures = 0;
    this.fallback.stop();
    this.#status("live");
    if (message.type === "tally") this.handlers.onTally(message);
    else if (message.type === "state") this.handlers.onState(message);
    else if (message.type === "viewers") this.handlers.onViewers?.(message.count);
  }

  #closed(code) {
    clearTimeout(this.#silence);
    this.#socket = null;
    if (code === NO_SUCH_POLL) return this.#gone();
    if (code === FOREIGN_ORIGIN) this.#refused = true;
    this.#lost();
  }

  #lost() {
    if (this.#stopped) return;
    this.#failures += 1;
    if (!this.fallback.running) this.#status(navigator.onLine === false ? "offline" : "reconnecting");
    if (this.#failures >= FAILURES_BEFORE_FALLBACK || this.#refused) this.fallback.start();
    if (!this.#refused) this.#retry = setTimeout(() => this.#open(), backoff(this.#failures, { base: SPREAD / 2 }));
  }

  /** The network is back. A socket from before may look open for minutes without carrying anything. */
  #back() {
    if (this.#stopped) return;
    this.#close();
    this.#status("reconnecting");
    this.#hurry();
  }

  /** Don't sit out a long wait, but a hall's Wi-Fi comes back for everyone at once. */
  #hurry() {
    if (this.#stopped || this.#socket) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#open(), Math.random() * SPREAD);
  }

  #gone() {
    this.stop();
    this.handlers.onGone?.();
  }

  #status(status) {
    if (!this.#stopped) this.handlers.onStatus?.(status);
  }
}
