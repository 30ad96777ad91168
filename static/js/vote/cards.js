/** The choices as cards: a form first, then the results in the same place. */

import { choicesKey, drawResult, newChoiceRow } from "../page/choice-rows.js";
import { shares } from "../text/texts.js";

const LONG = 60; // characters, the same as in the template

export class Cards {
  #locked = true;
  #key;

  constructor(list, template, onSelect) {
    this.list = list;
    this.template = template;
    this.#key = choicesKey(this.#cards().map(choiceOf));
    list.addEventListener("click", (event) => this.#locked && event.preventDefault());
    list.addEventListener("change", () => onSelect(this.selections));
    // The browser would scroll only to the card's small input. A pressed card is already in view.
    list.addEventListener("focusin", ({ target }) => {
      if (target.matches(":focus-visible")) target.closest(".choice").scrollIntoView({ block: "nearest" });
    });
  }

  get selections() {
    return this.#inputs().filter((input) => input.checked).map((input) => Number(input.value));
  }

  /** selections: the numbers to mark; locked: whether marks can't be changed; results: whether to draw results;
   *  mine: the numbers in this voter's accepted ballot. */
  draw(tally, { selections, locked, results, mine }) {
    this.#setChoices(tally);
    for (const input of this.#inputs()) {
      const wanted = selections.includes(Number(input.value));
      if (input.checked !== wanted) input.checked = wanted;
    }
    this.#lock(locked);
    this.list.classList.toggle("with-results", results);
    this.list.classList.toggle("decided", results && Boolean(tally.winners?.length));
    const shareTexts = results ? shares(tally) : null;
    const byNumber = new Map(tally.choices.map((choice) => [choice.number, choice]));
    for (const card of this.#cards()) {
      const choice = byNumber.get(choiceOf(card).number);
      if (!choice) continue;
      card.classList.toggle("won", results && Boolean(tally.winners?.includes(choice.number)));
      card.querySelector(".mine").hidden = !mine.includes(choice.number);
      drawResult(card, choice, tally.ballots, shareTexts);
    }
  }

  focus() {
    (this.#inputs().find((input) => input.checked) ?? this.#inputs()[0])?.focus();
  }

  /** Make new cards only for new choices: an update must not disturb a voter who is choosing. */
  #setChoices(tally) {
    const kind = tally.max_selections === 1 ? "radio" : "checkbox";
    this.list.setAttribute("role", kind === "radio" ? "radiogroup" : "group");
    const wanted = choicesKey(tally.choices);
    if (wanted === this.#key && this.list.querySelector("input")?.type === kind) return;
    this.#key = wanted;
    this.list.replaceChildren(...tally.choices.map((choice, index) => this.#make(choice, index, kind)));
  }

  /** Disable locked inputs, but a focused one only when it loses the focus. */
  #lock(locked) {
    this.#locked = locked;
    this.list.classList.toggle("locked", locked);
    for (const input of this.#inputs()) {
      if (locked && input === document.activeElement) {
        input.onblur = () => (input.disabled = this.#locked);
      } else if (input.disabled !== locked) {
        input.disabled = locked;
      }
    }
  }

  #cards() {
    return [...this.list.children];
  }

  #inputs() {
    return [...this.list.querySelectorAll("input")];
  }

  #make(choice, index, kind) {
    const card = newChoiceRow(this.template, index);
    const input = card.querySelector("input");
    input.type = kind;
    input.value = choice.number;
    card.querySelector(".label").textContent = choice.label;
    card.classList.toggle("long", choice.label.length > LONG);
    return card;
  }
}

const choiceOf = (card) => ({
  number: Number(card.querySelector("input").value),
  label: card.querySelector(".label").textContent,
});
