/** The bar at the bottom of the voter's page: the button and its outcome. */

import { setText, setTextOrHide } from "../page/set-text.js";
import { text } from "../text/texts.js";
import { castTexts } from "./cast-texts.js";
import { isHeldBack, mineOf, phaseOf, problemOf } from "./state.js";

const $ = (id) => document.getElementById(id);
const BUTTONS = { choosing: "cast", preparing: "cast", changing: "castChange", sending: "casting", retrying: "sendNow" };
const ROOM = 20; // rem: with less room above the bar, it scrolls with the page

export class CastBar {
  #receipt = $("receipt-code");

  constructor({ onSecond }) {
    $("second").addEventListener("click", onSecond);
    $("copy").addEventListener("click", () => this.#copy());
    this.#receipt.addEventListener("focus", () => this.#receipt.select());
    new ResizeObserver(() => this.#place()).observe($("cast"));
    addEventListener("resize", () => this.#place());
  }

  /** Fix the bar to the bottom, except with large text or in a low window, where it would cover the page. */
  #place() {
    const height = $("cast").offsetHeight;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const scrolls = innerHeight - height < ROOM * rem;
    $("cast").classList.toggle("flows", scrolls);
    document.documentElement.style.setProperty("--cast-bar", scrolls ? "0px" : `${height}px`);
  }

  draw(state) {
    const [phase, mine] = [phaseOf(state), mineOf(state)];
    const focused = document.activeElement;
    const { title, words, more, tone } = castTexts(state, performance.now());
    setTextOrHide($("cast-title"), title);
    setTextOrHide($("cast-text"), words);
    setTextOrHide($("cast-more"), more);
    $("cast").dataset.tone = tone ?? "";
    this.#drawSubmit(state, phase);
    this.#drawSecond(state, phase);
    $("sign-in").hidden = !(phase === "barred" && state.voter.needs === "login");
    $("receipt").hidden = !(mine?.receipt && ["voted", "over"].includes(phase));
    if (mine?.receipt && this.#receipt.value !== mine.receipt) this.#receipt.value = mine.receipt;
    this.#keepFocus(focused);
  }

  #drawSubmit(state, phase) {
    const submit = $("submit");
    // While the server asks to wait, a press would only add load.
    submit.hidden = !(phase in BUTTONS) || isHeldBack(state);
    if (!submit.hidden) setText(submit, text(BUTTONS[phase]));
    const idle = state.outbox.sending || phase === "preparing";
    // `disabled` would drop the focus. With a problem the button only looks disabled: a press says what is missing.
    submit.setAttribute("aria-disabled", String(idle));
    submit.classList.toggle("waits", idle || (phase !== "retrying" && Boolean(problemOf(state))));
  }

  #drawSecond({ tally, voter }, phase) {
    const offered = phase === "voted" && tally.revote && voter?.eligible !== false;
    setTextOrHide($("second"), phase === "changing" ? text("keep") : offered ? text("change") : "");
  }

  /** Move the focus to the title if the focused element was hidden. */
  #keepFocus(focused) {
    if (!focused?.hidden || !$("cast").contains(focused)) return;
    if (!$("cast-title").hidden) $("cast-title").focus({ preventScroll: true });
  }

  /** The clipboard API needs a secure context; selecting the text and execCommand do not. */
  async #copy() {
    this.#receipt.focus();
    this.#receipt.select();
    const copied = await navigator.clipboard?.writeText(this.#receipt.value).then(() => true, () => false);
    const done = copied ?? document.execCommand("copy");
    setText($("copy"), text(done ? "copied" : "copyByHand"));
    setTimeout(() => setText($("copy"), text("copy")), 3000);
  }
}
