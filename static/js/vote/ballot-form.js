/** The form of the poll's method. A draft's method may change while its page is open. */

import { methodOf } from "../methods/registry.js";

export class BallotForm {
  #method;
  #form;

  /** list: the place of the form, with the rows that the server rendered for this tally. */
  constructor(list, tally, onSelect) {
    this.onSelect = onSelect;
    this.#open(list, tally);
  }

  get selections() {
    return this.#form.selections;
  }

  draw(tally, state) {
    if (methodOf(tally) !== this.#method) {
      const empty = this.#form.list.cloneNode(false); // without the listeners
      this.#form.list.replaceWith(empty);
      this.#open(empty, tally);
    }
    this.#form.draw(tally, state);
  }

  focus() {
    this.#form.focus();
  }

  #open(list, tally) {
    this.#method = methodOf(tally);
    const template = document.getElementById(`ballot-${tally.method}`);
    addStyle(template.dataset.style);
    this.#form = new this.#method.Ballot(list, template, this.onSelect);
  }
}

/** Load a method's style sheet, unless the page was made with it. */
function addStyle(href) {
  if (!href || document.querySelector(`link[href="${href}"]`)) return;
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
}
