/** The presenter's controls: shown when the mouse moves or a key is pressed, hidden after three idle seconds. */

import { shortcutOf } from "./keyboard.js";
import { nextTheme } from "../page/theme.js";
import { text } from "../text/texts.js";
import { setText } from "../page/set-text.js";

const HIDE_AFTER = 3000;
const $ = (id) => document.getElementById(id);

export class Controls {
  #timer = 0;

  constructor(stage, { hide }) {
    this.stage = stage;
    this.bar = $("controls");
    this.actions = {
      f: () => this.#fullscreen(),
      h: hide,
      t: nextTheme,
      m: () => $("manage").click(),
      "?": () => this.#help(),
      Escape: () => this.#help(false),
    };
    $("fullscreen").hidden = !document.fullscreenEnabled;
    $("fullscreen").addEventListener("click", this.actions.f);
    $("hide").addEventListener("click", hide);
    $("keys-button").addEventListener("click", this.actions["?"]);
    document.addEventListener("fullscreenchange", () => this.#label());
    document.addEventListener("keydown", (event) => this.#key(event));
    for (const type of ["pointermove", "pointerdown", "focusin"]) addEventListener(type, () => this.#show());
    this.#label();
  }

  draw({ hiding, possible }) {
    $("hide").hidden = !possible;
    setText($("hide").firstChild, text(hiding ? "showResults" : "hideResults"));
  }

  #key(event) {
    this.#show();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = this.actions[shortcutOf(event)];
    if (!action) return;
    event.preventDefault();
    if (!event.repeat) action(); // a key that is held down counts as one press
  }

  #show() {
    this.stage.classList.add("awake");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#hideIfUnused(), HIDE_AFTER);
  }

  #hideIfUnused() {
    const inUse = this.bar.matches(":hover") || this.bar.querySelector(":focus-visible") || !$("keys").hidden;
    if (inUse) this.#show();
    else this.stage.classList.remove("awake");
  }

  #fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen().catch(() => {});
  }

  #help(show = $("keys").hidden) {
    $("keys").hidden = !show;
    $("keys-button").setAttribute("aria-expanded", String(show));
  }

  #label() {
    setText($("fullscreen").firstChild, text(document.fullscreenElement ? "leaveFullscreen" : "fullscreen"));
  }
}
