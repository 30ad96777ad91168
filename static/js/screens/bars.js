/** The bars of the results page and the presenter's screen, in the order of the choices. */

import { clearNumber, animateNumber, animateShare } from "../page/motion.js";
import { formatNumber, shares } from "../text/texts.js";
import { setText } from "../page/set-text.js";

const HUES = 8;

export class Bars {
  #signature = null;

  constructor(list, template) {
    this.list = list;
    this.template = template;
  }

  /** One row a choice; made anew only if the choices are other ones. */
  fit(choices) {
    const signature = JSON.stringify(choices.map((choice) => [choice.number, choice.label]));
    if (signature === this.#signature) return;
    this.#signature = signature;
    this.list.replaceChildren(...choices.map((choice, index) => this.#make(choice, index)));
    this.list.style.setProperty("--count", choices.length);
  }

  /** Other words for the labels where there is little room, in the order of the choices. */
  name(labels) {
    labels.forEach((words, index) => setText(this.list.children[index].querySelector(".bar-label"), words));
  }

  /** `shown` false: tracks without figures. `only`: the numbers that have room, or null for all. */
  draw(tally, { shown, only = null }) {
    const words = shown ? shares(tally) : null;
    // A screen reader gets the table instead, where there is one.
    this.list.setAttribute("aria-hidden", String(shown));
    tally.choices.forEach((choice, index) => {
      const row = this.list.children[index];
      row.hidden = Boolean(only) && !only.includes(choice.number);
      row.classList.toggle("won", shown && Boolean(tally.winners?.includes(choice.number)));
      drawRow(row, choice, tally.ballots, words);
    });
    this.list.classList.toggle("decided", shown && Boolean(tally.winners?.length));
  }

  #make(choice, index) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    row.classList.add(`hue-${(index % HUES) + 1}`);
    setText(row.querySelector(".bar-label"), choice.label);
    return row;
  }
}

/** A full track is all ballots. `words` say the share; null: no figures. */
function drawRow(row, choice, ballots, words) {
  const [shareNode, votesNode] = [row.querySelector(".bar-share"), row.querySelector(".bar-votes")];
  row.style.setProperty("--fill", words && ballots ? choice.votes / ballots : 0);
  row.classList.toggle("some", Boolean(words) && choice.votes > 0 && choice.votes < ballots);
  if (!words) {
    clearNumber(shareNode);
    clearNumber(votesNode);
    return;
  }
  animateShare(shareNode, choice.votes, ballots, words);
  animateNumber(votesNode, choice.votes, (value) => formatNumber(Math.round(value)));
}
