/** The field for an invite, for voters whose link has lost the part after "#". */

import { readInvite } from "./invite.js";
import { text } from "../text/texts.js";
import { setTextOrHide } from "../page/set-text.js";

export class InviteEntry {
  #field = document.getElementById("invite-field");
  #error = document.getElementById("invite-error");
  #box = document.getElementById("invite-entry");

  /** onInvite(token): called with a token that has the form of an invite. */
  constructor({ code, onInvite }) {
    this.code = code;
    this.onInvite = onInvite;
    document.getElementById("invite-use").addEventListener("click", () => this.use());
    this.#field.addEventListener("input", () => this.#say(""));
  }

  get hasFocus() {
    return this.#box.contains(document.activeElement);
  }

  draw(wanted) {
    this.#box.hidden = !wanted;
    if (!wanted) this.#field.value = "";
  }

  use() {
    const { token, problem, ...values } = readInvite(this.#field.value, this.code);
    this.#say(problem ? text(problem, values) : "");
    if (problem) this.#field.focus();
    else this.onInvite(token);
  }

  #say(words) {
    setTextOrHide(this.#error, words);
    this.#field.setAttribute("aria-invalid", String(Boolean(words)));
  }
}
