/** The bar at the bottom of the voter's page: what the button will do, then what came of it. */

import { ballotTexts } from "./receipt-status.js";
import { barredKeys } from "./phase.js";
import { text } from "../text/texts.js";
import { setTextOrHide } from "../page/set-text.js";

const $ = (id) => document.getElementById(id);
const BUTTONS = { choosing: "cast", preparing: "cast", changing: "castChange", sending: "casting", retrying: "sendNow" };

const ROOM = 20; // rem that the bar leaves for what it stands over

export class CastBar {
  #receipt = $("receipt-code");

  constructor({ onSecond }) {
    $("second").addEventListener("click", onSecond);
    $("copy").addEventListener("click", () => this.#copy());
    this.#receipt.addEventListener("focus", () => this.#receipt.select());
    new ResizeObserver(() => this.#measure()).observe($("cast"));
    addEventListener("resize", () => this.#measure());
  }

  /** Large text or a low window: a bar that covers what one reads or tabs to is worse than one to scroll to. */
  #measure() {
    const height = $("cast").offsetHeight;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const flows = innerHeight - height < ROOM * rem;
    $("cast").classList.toggle("flows", flows);
    document.documentElement.style.setProperty("--cast-bar", flows ? "0px" : `${height}px`);
  }

  draw(view) {
    const { phase, tally, mine, wrong, outbox, voter } = view;
    const focused = document.activeElement;
    const { title, words, more, tone } = sentence(view);
    setTextOrHide($("cast-title"), title);
    setTextOrHide($("cast-text"), words);
    setTextOrHide($("cast-more"), more);
    $("cast").dataset.tone = tone ?? "";
    const idle = outbox.sending || phase === "preparing";
    const held = phase === "retrying" && outbox.busy; // a press would only add to the rush
    this.#button(held ? "held" : phase, { idle, ready: phase === "retrying" || !wrong });
    this.#second(phase, tally, voter);
    $("sign-in").hidden = !(phase === "barred" && voter.needs === "login");
    $("receipt").hidden = !(mine?.receipt && ["voted", "over"].includes(phase));
    if (mine?.receipt && this.#receipt.value !== mine.receipt) this.#receipt.value = mine.receipt;
    this.#keepFocus(focused);
  }

  /** `idle`: a press does nothing. Not `ready`: it says what is missing, so it only looks like waiting. */
  #button(phase, { idle, ready }) {
    const submit = $("submit");
    submit.hidden = !(phase in BUTTONS);
    if (phase in BUTTONS) setTextOrHide(submit, text(BUTTONS[phase]));
    // Not `disabled`: that would drop the focus.
    submit.setAttribute("aria-disabled", String(idle));
    submit.classList.toggle("waits", idle || !ready);
  }

  #second(phase, tally, voter) {
    const second = $("second");
    const offered = phase === "voted" && tally.revote && voter?.eligible !== false;
    const words = phase === "changing" ? text("keep") : offered ? text("change") : "";
    second.hidden = !words;
    if (words) setTextOrHide(second, words);
  }

  /** Only where what had the focus went away under it, which follows from what the voter did. */
  #keepFocus(focused) {
    if (!focused?.hidden || !$("cast").contains(focused)) return;
    if (!$("cast-title").hidden) $("cast-title").focus({ preventScroll: true });
  }

  /** The clipboard API needs a secure context; a selection and a short word do not. */
  async #copy() {
    this.#receipt.focus();
    this.#receipt.select();
    const copied = await navigator.clipboard?.writeText(this.#receipt.value).then(() => true, () => false);
    const done = copied ?? document.execCommand("copy");
    setTextOrHide($("copy"), text(done ? "copied" : "copyByHand"));
    setTimeout(() => setTextOrHide($("copy"), text("copy")), 3000);
  }
}

/** Title, text, a small line and the tone for where the voter stands. */
function sentence({ phase, tally, outbox, notice, justCast, mine, unreached, count, wrong, voter, cut, fate, invited }) {
  const said = notice ? { words: notice.words, tone: notice.tone } : null;
  if (phase === "retrying") return { ...trouble(outbox), tone: "warn" };
  if (phase === "sending") return { words: sending(outbox) };
  if (phase === "barred") {
    const { title, words } = barredKeys({ ...voter, cut });
    return { title: text(title), words: notice?.words ?? text(words, { count: cut }), tone: notice?.tone };
  }
  const refused = notice?.tone === "bad";
  if (phase === "over" && (refused || !mine)) return refused ? said : { words: text("tooLate") };
  if (["voted", "over"].includes(phase)) {
    const over = phase === "over";
    const found = ballotTexts(fate, { over, invited, changed: justCast && mine.changed });
    return over ? found : { ...found, ...said };
  }
  if (said) return said;
  if (phase === "preparing") return { words: text(unreached ? "preparingSlow" : "preparing") };
  // How many may be chosen stands above the cards.
  if (wrong && !count) return { words: text("nothingChosen") };
  if (tally.max_selections === 1) return { words: text("ready") };
  const chosen = text("chosen", { count });
  return { words: wrong ? `${chosen} ${text(wrong.key, wrong)}` : chosen };
}

const sending = (outbox) => text(outbox.proving ? "proving" : "casting");

function trouble(outbox) {
  const { unknown, busy } = outbox;
  const seconds = Math.ceil((outbox.nextTry - performance.now()) / 1000);
  return {
    title: text(unknown ? "unknownTitle" : "busyTitle"),
    words: text(!busy ? "unknown" : outbox.pending.held ? "held" : "busy"),
    more: outbox.sending || seconds < 1 ? sending(outbox) : text("nextTry", { count: seconds }),
  };
}
