/** The live connection to a poll: a WebSocket, and requests to the tally endpoint while the socket brings no frame.
 *
 *  Start here. fallback.js makes those requests, merge.js says which of two messages is newer. No event of the poll
 *  triggers a request: a closing must not make a whole hall fetch at once. */

import { backoff } from "./backoff.js";
import { Fallback } from "./fallback.js";

const SILENCE = 20000; // the server sends a frame at least every 15 s
const HIDDEN_SILENCE = 40000; // a hidden page can wait longer for a busy server
const FIRST_FRAME = 12000; // a new socket without a frame after this time is closed
const PONG = 3000; // how long to wait for the answer to a ping
const [FALLBACK_AFTER, FALLBACK_SPREAD] = [2000, 2000]; // after this time without a frame, the tally endpoint is used
const RECONNECT_SPREAD = 1500; // all viewers in a hall reconnect at the same moment
const VISIBLE_SPREAD = 1000; // all viewers in a hall return to this tab at the same moment
const [POLL_NOT_FOUND, FOREIGN_ORIGIN] = [4404, 4403]; // close codes

export class Connection {
  #socket = null;
  #failures = 0;
  #lastFrame = 0; // when the socket was opened or the last frame came, by performance.now()
  #reconnectTimer = 0;
  #silenceTimer = 0;
  #fallbackTimer = 0;
  #pingTimer = 0;
  #stopped = true;
  #refused = false;

  /** counted: whether this page counts as a viewer. Handlers: onTally(tally), onState(message), onViewers(count),
   *  onGone(), onStatus("live" | "reconnecting" | "offline"). A connection is "live" once it has carried a message. */
  constructor({ root, code, counted = true, ...handlers }) {
    const address = new URL(`${root}ws/polls/${code}/${counted ? "" : "?audience=no"}`, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    this.address = address.href;
    this.handlers = handlers;
    this.fallback = new Fallback(`${root}api/v1/polls/${code}/tally/`, {
      onTally: handlers.onTally,
      onReached: () => this.#setStatus("live"),
      onFailed: () => this.#setNotLive(),
      onGone: () => this.#gone(),
    });
    addEventListener("online", () => this.#restart());
    addEventListener("offline", () => this.#setStatus("offline"));
    document.addEventListener("visibilitychange", () => document.hidden || this.#onVisible());
    // An open socket would keep the page out of the back/forward cache.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.#restart());
  }

  start() {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#open();
  }

  stop() {
    this.#stopped = true;
    this.#close();
    this.#stopFallback();
  }

  /** Ask the server to check again what this voter may see: their ballot has been accepted. */
  recheck() {
    this.#send("recheck");
    this.fallback.recheck();
  }

  /** Open a new socket: the server reads the voter's cookie only at the handshake. */
  reopen() {
    this.#close();
    this.#open();
  }

  #open() {
    if (this.#stopped || this.#socket || this.#refused) return;
    clearTimeout(this.#reconnectTimer);
    let socket;
    try {
      socket = new WebSocket(this.address);
    } catch {
      return this.#lost();
    }
    this.#socket = socket;
    this.#lastFrame = performance.now();
    this.#expectFrame(FIRST_FRAME);
    this.#startFallbackSoon();
    socket.onmessage = (event) => this.#socket === socket && this.#receive(event.data);
    socket.onclose = (event) => this.#socket === socket && this.#closed(event.code);
  }

  #close() {
    for (const timer of [this.#reconnectTimer, this.#silenceTimer, this.#pingTimer]) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #send(type) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify({ type }));
    return true;
  }

  /** Replace the socket unless a frame arrives within `milliseconds`. */
  #expectFrame(milliseconds) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => {
      this.#close();
      this.#lost();
    }, milliseconds);
  }

  #receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    this.#expectFrame(document.hidden ? HIDDEN_SILENCE : SILENCE);
    this.#lastFrame = performance.now();
    this.#failures = 0;
    this.#stopFallback();
    this.#setStatus("live");
    if (message.type === "tally") this.handlers.onTally(message);
    else if (message.type === "state") this.handlers.onState(message);
    else if (message.type === "viewers") this.handlers.onViewers?.(message.count);
  }

  #closed(code) {
    clearTimeout(this.#silenceTimer);
    this.#socket = null;
    if (code === POLL_NOT_FOUND) return this.#gone();
    if (code === FOREIGN_ORIGIN) this.#refused = true;
    this.#lost();
  }

  #lost() {
    if (this.#stopped) return;
    this.#failures += 1;
    if (!this.fallback.running) this.#setNotLive();
    this.#startFallbackSoon();
    if (!this.#refused) this.#reconnectIn(backoff(this.#failures, { base: RECONNECT_SPREAD / 2 }));
  }

  #reconnectIn(milliseconds) {
    clearTimeout(this.#reconnectTimer);
    this.#reconnectTimer = setTimeout(() => this.#open(), milliseconds);
  }

  #startFallbackSoon() {
    if (this.fallback.running || this.#fallbackTimer) return;
    this.#fallbackTimer = setTimeout(() => {
      this.#fallbackTimer = 0;
      this.fallback.start();
    }, FALLBACK_AFTER + FALLBACK_SPREAD * Math.random());
  }

  #stopFallback() {
    clearTimeout(this.#fallbackTimer);
    this.#fallbackTimer = 0;
    this.fallback.stop();
  }

  /** Ping when the page is visible again: its socket may have died without an event. */
  #onVisible() {
    if (this.#stopped) return;
    this.fallback.onVisible();
    if (!this.#socket) return this.#reconnectIn(Math.random() * RECONNECT_SPREAD);
    if (performance.now() - this.#lastFrame > SILENCE) return this.#restart();
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => this.#send("ping") && this.#expectFrame(PONG), Math.random() * VISIBLE_SPREAD);
  }

  /** Replace the socket when the network is back: the old socket may seem open for minutes although it is dead. */
  #restart() {
    if (this.#stopped) return;
    this.#close();
    this.#setNotLive();
    this.#reconnectIn(Math.random() * RECONNECT_SPREAD);
  }

  #gone() {
    this.stop();
    this.handlers.onGone?.();
  }

  #setNotLive() {
    this.#setStatus(navigator.onLine === false ? "offline" : "reconnecting");
  }

  #setStatus(status) {
    if (!this.#stopped) this.handlers.onStatus?.(status);
  }
}
