/** Everything live comes over one WebSocket; while that shows nothing, the tally endpoint is asked instead.
 *
 *  onTally(tally), onState(message), onViewers(count), onStatus("live" | "reconnecting" | "offline"), onGone().
 *  "live" is only said of a connection that has just shown that it is. Nothing here is asked for because something
 *  happened to the poll: a closing must not make a hall refetch. */

import { backoff } from "./backoff.js";
import { Fallback } from "./fallback.js";

const SILENCE = 20000; // the server speaks at least every 15 s
const HIDDEN_SILENCE = 40000; // nobody looks: a busy server is given more time
const FIRST_FRAME = 12000; // a socket that has shown nothing by then is given up
const ANSWER = 3000; // to a ping
const [UNPROVEN, UNPROVEN_SPREAD] = [2000, 2000]; // without a frame for so long, the tally endpoint is asked
const SPREAD = 1500; // a hall is back within so many milliseconds of the server
const GLANCE = 1000; // a hall looks up from its other tabs at the same moment
const NO_SUCH_POLL = 4404;
const FOREIGN_ORIGIN = 4403;

export class Connection {
  #socket = null;
  #failures = 0;
  #heard = 0; // when the socket was opened or the last frame came, by performance.now()
  #retry = 0;
  #silence = 0;
  #unproven = 0;
  #glance = 0;
  #stopped = true;
  #refused = false;

  constructor({ root, code, counted = true, ...handlers }) {
    const address = new URL(`${root}ws/polls/${code}/${counted ? "" : "?audience=no"}`, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    this.address = address.href;
    this.handlers = handlers;
    this.fallback = new Fallback(`${root}api/v1/polls/${code}/tally/`, {
      onTally: (tally) => handlers.onTally(tally),
      onReached: () => this.#status("live"),
      onFailed: () => this.#notLive(),
      onGone: () => this.#gone(),
    });
    addEventListener("online", () => this.#back());
    addEventListener("offline", () => this.#status("offline"));
    document.addEventListener("visibilitychange", () => document.hidden || this.#lookedAt());
    // An open socket would keep the page out of the back/forward cache.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && !this.#stopped && this.#back());
  }

  start() {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#open();
  }

  stop() {
    this.#stopped = true;
    this.#close();
    this.#proven();
  }

  /** This voter's ballot is in: the server may now show what it showed nobody else. */
  recheck() {
    this.#say("recheck");
    this.fallback.soon();
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
    this.#heard = performance.now();
    this.#listen(FIRST_FRAME);
    this.#doubt();
    socket.onmessage = (event) => this.#socket === socket && this.#message(event.data);
    socket.onclose = (event) => this.#socket === socket && this.#closed(event.code);
  }

  #close() {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    clearTimeout(this.#glance);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #say(type) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify({ type }));
    return true;
  }

  /** Give the socket up unless something comes over it. */
  #listen(patience) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.#close();
      this.#lost();
    }, patience);
  }

  #message(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    this.#listen(document.hidden ? HIDDEN_SILENCE : SILENCE);
    this.#heard = performance.now();
    this.#failures = 0;
    this.#proven();
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
    if (!this.fallback.running) this.#notLive();
    this.#doubt();
    if (!this.#refused) this.#retry = setTimeout(() => this.#open(), backoff(this.#failures, { base: SPREAD / 2 }));
  }

  /** From now on nothing is proven: unless a frame comes soon, ask the tally endpoint until one does. */
  #doubt() {
    if (this.fallback.running || this.#unproven) return;
    this.#unproven = setTimeout(() => {
      this.#unproven = 0;
      this.fallback.start();
    }, UNPROVEN + UNPROVEN_SPREAD * Math.random());
  }

  #proven() {
    clearTimeout(this.#unproven);
    this.#unproven = 0;
    this.fallback.stop();
  }

  /** The page is looked at again. Its socket may have died meanwhile, which nothing but silence tells. */
  #lookedAt() {
    if (this.#stopped) return;
    this.fallback.lookedAt();
    if (!this.#socket) return this.#hurry();
    if (performance.now() - this.#heard > SILENCE) return this.#back();
    clearTimeout(this.#glance);
    this.#glance = setTimeout(() => this.#say("ping") && this.#listen(ANSWER), Math.random() * GLANCE);
  }

  /** The network is back. A socket from before may look open for minutes without carrying anything. */
  #back() {
    if (this.#stopped) return;
    this.#close();
    this.#notLive();
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

  #notLive() {
    this.#status(navigator.onLine === false ? "offline" : "reconnecting");
  }

  #status(status) {
    if (!this.#stopped) this.handlers.onStatus?.(status);
  }
}
