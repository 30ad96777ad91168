/** The bars of the results page and the presenter's screen, in the order of the choices. */

import { clearNumber, moveNumber } from "./motion.js";
import { number, share } from "./texts.js";

const HUES = 8;

/** The share that a full track stands for. Steps, and a margin before going back, so that bars grow by votes
 *  and not by a scale that moves under them. Pure. */
export function scaleFor(highest, previous = null) {
  const fits = (step) => highest <= step * (previous !== null && step < previous ? 0.8 : 0.95);
  return [0.125, 0.25, 0.5].find(fits) ?? 1;
}

export class Bars {
  #signature = null;
  #scale = null;

  constructor(list, template) {
    this.list = list;
    this.template = template;
  }

  /** One row a choice; made anew only if the choices are other ones. */
  fit(choices) {
    const signature = JSON.stringify(choices.map((choice) => [choice.number, choice.label]));
    if (signature === this.#signature) return;
    this.#signature = signature;
    this.#scale = null;
    this.list.replaceChildren(...choices.map((choice, index) => this.#make(choice, index)));
    this.list.style.setProperty("--count", choices.length);
  }

  /** `shown` false: tracks without figures. `only`: the numbers that have room, or null for all. */
  draw(tally, { shown, only = null }) {
    const highest = shown ? Math.max(0, ...tally.choices.map((choice) => choice.share ?? 0)) : 0;
    this.#scale = shown && tally.ballots ? scaleFor(highest, this.#scale) : null;
    const digits = shown ? Math.max(...tally.choices.map((choice) => number(choice.votes).length)) : 1;
    this.list.style.setProperty("--digits", digits);
    // A screen reader gets the table instead, where there is one.
    this.list.setAttribute("aria-hidden", String(shown));
    tally.choices.forEach((choice, index) => {
      const row = this.list.children[index];
      row.hidden = Boolean(only) && !only.includes(choice.number);
      row.classList.toggle("won", shown && Boolean(tally.winners?.includes(choice.number)));
      drawRow(row, choice, shown, this.#scale ?? 1);
    });
    this.list.classList.toggle("decided", shown && Boolean(tally.winners?.length));
  }

  #make(choice, index) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    row.classList.add(`hue-${(index % HUES) + 1}`);
    row.querySelector(".bar-label").textContent = choice.label;
    return row;
  }
}

function drawRow(row, choice, shown, scale) {
  const [shareNode, votesNode] = [row.querySelector(".bar-share"), row.querySelector(".bar-votes")];
  row.style.setProperty("--fill", shown ? (choice.share ?? 0) / scale : 0);
  if (!shown) {
    clearNumber(shareNode);
    clearNumber(votesNode);
    return;
  }
  if (choice.share === null) clearNumber(shareNode);
  else moveNumber(shareNode, choice.share, share, 0.01);
  moveNumber(votesNode, choice.votes, (value) => number(Math.round(value)));
}
