/** The bars of the results page and the presenter's screen, in the order of the choices. */

import { choicesKey, drawResult, newChoiceRow } from "../page/choice-rows.js";
import { setText } from "../page/set-text.js";
import { shares } from "../text/texts.js";

export class Bars {
  #key = null;

  constructor(list, template) {
    this.list = list;
    this.template = template;
  }

  /** Make a row for each choice, if the choices have changed. */
  setChoices(choices) {
    const key = choicesKey(choices);
    if (key === this.#key) return;
    this.#key = key;
    this.list.replaceChildren(...choices.map((_, index) => newChoiceRow(this.template, index)));
    this.list.style.setProperty("--count", choices.length);
    this.setLabels(choices.map(({ label }) => label));
  }

  /** Set the labels, in the order of the choices. They may be shortened. */
  setLabels(labels) {
    labels.forEach((label, index) => setText(this.list.children[index].querySelector(".bar-label"), label));
  }

  /** shown: whether to show figures; only: the numbers of the choices to show, or null for all. */
  draw(tally, { shown, only = null }) {
    const shareTexts = shown ? shares(tally) : null;
    // A screen reader gets the table instead.
    this.list.setAttribute("aria-hidden", String(shown));
    this.list.classList.toggle("decided", shown && Boolean(tally.winners?.length));
    tally.choices.forEach((choice, index) => {
      const row = this.list.children[index];
      row.hidden = Boolean(only) && !only.includes(choice.number);
      row.classList.toggle("won", shown && Boolean(tally.winners?.includes(choice.number)));
      drawResult(row, choice, tally.ballots, shareTexts);
    });
  }
}
