/** The form on the voter's page, with a row for each choice: to fill in first, then with the results in the same place.
 *  A method's form extends it with the contents of a row. */

import { newChoiceRow } from "../page/choice-rows.js";

export class ChoiceForm {
  #locked = true;
  #key;

  /** list: holds the rows, which the server may have rendered; template: has one row. */
  constructor(list, template, onSelect) {
    this.list = list;
    this.template = template;
    this.onSelect = onSelect;
    this.#key = this.rows.length ? rowsKey(this.rows[0].dataset.kind, this.rows.map(choiceOf)) : null;
    list.addEventListener("click", (event) => this.#locked && event.preventDefault());
    list.addEventListener("change", () => onSelect(this.selections));
    // For the keyboard only: a clicked row is in view. The browser itself would scroll only to the row's small input.
    list.addEventListener("focusin", ({ target }) => {
      if (target.matches(":focus-visible")) target.closest("[data-number]").scrollIntoView({ block: "nearest" });
    });
  }

  get rows() {
    return [...this.list.children];
  }

  get inputs() {
    return [...this.list.querySelectorAll("input")];
  }

  get locked() {
    return this.#locked;
  }

  /** selections: the marks to show; locked: whether they can't be changed; results: whether to draw results; mine: the
   *  marks of this voter's accepted ballot. */
  draw(tally, { selections, locked, results, mine }) {
    this.#setChoices(tally);
    this.mark(selections);
    this.#lock(locked);
    this.list.classList.toggle("with-results", results);
    this.drawResults(tally, results, mine);
  }

  focus() {
    (this.inputs.find((input) => input.checked) ?? this.inputs[0])?.focus();
  }

  /** Return the row of each choice that has one: [row, choice]. */
  pairs(tally) {
    const byNumber = new Map(tally.choices.map((choice) => [choice.number, choice]));
    return this.rows.map((row) => [row, byNumber.get(numberOf(row))]).filter(([, choice]) => choice);
  }

  /** Make new rows only for new choices: an update must not disturb a voter who is choosing. */
  #setChoices(tally) {
    const kind = this.kindOf(tally);
    const wanted = rowsKey(kind, tally.choices);
    if (wanted === this.#key) return;
    this.#key = wanted;
    this.list.replaceChildren(...tally.choices.map((choice, index) => this.#make(tally, choice, index, kind)));
  }

  #make(tally, choice, index, kind) {
    const row = newChoiceRow(this.template, index);
    row.dataset.kind = kind;
    row.dataset.number = choice.number;
    row.querySelector(".label").textContent = choice.label;
    this.fill(row, tally, choice);
    return row;
  }

  /** Disable locked inputs, but a focused one only when it loses the focus. */
  #lock(locked) {
    this.#locked = locked;
    this.list.classList.toggle("locked", locked);
    for (const input of this.inputs) {
      if (locked && input === document.activeElement) {
        input.onblur = () => (input.disabled = this.#locked);
      } else if (input.disabled !== locked) {
        input.disabled = locked;
      }
    }
  }
}

export const numberOf = (row) => Number(row.dataset.number);

const choiceOf = (row) => ({ number: numberOf(row), label: row.querySelector(".label").textContent });
const rowsKey = (kind, choices) => JSON.stringify([kind, choices.map(({ number, label }) => [number, label])]);
