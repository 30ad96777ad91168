/** The choices as cards: first a form, later, in the same place, the results. */

import { clearNumber, animateNumber, animateShare } from "../page/motion.js";
import { formatNumber, shares } from "../text/texts.js";

const HUES = 8;
const LONG = 60; // characters; as in the template

export class Cards {
  #signature = "";
  #max = 1;

  constructor(list, template, onSelect) {
    this.list = list;
    this.template = template;
    this.locked = true;
    this.#signature = signature(this.#cards().map(describe));
    list.addEventListener("click", (event) => this.locked && event.preventDefault());
    list.addEventListener("change", () => onSelect());
    // The browser scrolls to the small box of a card alone. A pressed card is in sight already.
    list.addEventListener("focusin", ({ target }) => {
      if (target.matches(":focus-visible")) target.closest(".choice").scrollIntoView({ block: "nearest" });
    });
  }

  /** Makes the cards anew only if they are other ones: an update must not touch what is being filled in. */
  fit(tally) {
    this.#max = tally.max_selections;
    const wanted = signature(tally.choices);
    const kind = this.#max === 1 ? "radio" : "checkbox";
    this.list.setAttribute("role", kind === "radio" ? "radiogroup" : "group");
    if (wanted === this.#signature && this.list.querySelector("input")?.type === kind) return;
    this.#signature = wanted;
    this.list.replaceChildren(...tally.choices.map((choice, index) => this.#make(choice, index, kind)));
    this.lock(this.locked);
  }

  get selections() {
    return this.#inputs().filter((input) => input.checked).map((input) => Number(input.value));
  }

  select(numbers) {
    for (const input of this.#inputs()) {
      const wanted = numbers.includes(Number(input.value));
      if (input.checked !== wanted) input.checked = wanted;
    }
  }

  /** Locked inputs leave the tab order, but one that has the focus keeps it until it is left. */
  lock(locked) {
    this.locked = locked;
    this.list.classList.toggle("locked", locked);
    for (const input of this.#inputs()) {
      if (locked && input === document.activeElement) {
        input.onblur = () => (input.disabled = this.locked);
      } else if (input.disabled !== locked) {
        input.disabled = locked;
      }
    }
  }

  focus() {
    (this.#inputs().find((input) => input.checked) ?? this.#inputs()[0])?.focus();
  }

  /** `results`: whether to draw them; `mine`: the numbers this voter marked in the ballot that counts. */
  draw(tally, { results, mine }) {
    this.list.classList.toggle("with-results", results);
    this.list.classList.toggle("decided", results && Boolean(tally.winners?.length));
    const words = results ? shares(tally) : null;
    const byNumber = new Map(tally.choices.map((choice) => [choice.number, choice]));
    for (const card of this.#cards()) {
      const choice = byNumber.get(valueOf(card));
      if (!choice) continue;
      card.classList.toggle("won", results && Boolean(tally.winners?.includes(choice.number)));
      card.querySelector(".mine").hidden = !mine.includes(choice.number);
      drawResult(card, choice, tally.ballots, words);
    }
  }

  #cards() {
    return [...this.list.children];
  }

  #inputs() {
    return [...this.list.querySelectorAll("input")];
  }

  #make(choice, index, kind) {
    const card = this.template.content.firstElementChild.cloneNode(true);
    card.classList.add(`hue-${(index % HUES) + 1}`);
    const input = card.querySelector("input");
    input.type = kind;
    input.value = choice.number;
    card.querySelector(".label").textContent = choice.label;
    card.classList.toggle("long", choice.label.length > LONG);
    return card;
  }
}

/** `words` say its share; null: no results. */
function drawResult(card, choice, ballots, words) {
  const [shareNode, votesNode] = [card.querySelector(".share"), card.querySelector(".votes")];
  card.style.setProperty("--share", words && ballots ? choice.votes / ballots : 0);
  card.classList.toggle("some", Boolean(words) && choice.votes > 0 && choice.votes < ballots);
  if (!words) {
    clearNumber(shareNode);
    clearNumber(votesNode);
    return;
  }
  animateShare(shareNode, choice.votes, ballots, words);
  animateNumber(votesNode, choice.votes, (value) => formatNumber(Math.round(value)));
}

const valueOf = (card) => Number(card.querySelector("input").value);

const describe = (card) => ({ number: valueOf(card), label: card.querySelector(".label").textContent });

const signature = (choices) => JSON.stringify(choices.map((choice) => [choice.number, choice.label]));
