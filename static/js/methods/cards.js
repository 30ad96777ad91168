/** The choices as cards, with one input each. */

import { drawBar } from "../page/choice-rows.js";
import { ChoiceForm, numberOf } from "./choice-form.js";

const LONG = 60; // characters, the same as in the template

/** chart(tally, shown): the bars to draw in the cards, by the choices' numbers. */
export const cardsWith = (chart) =>
  class Cards extends ChoiceForm {
    get selections() {
      return this.inputs.filter((input) => input.checked).map((input) => Number(input.value));
    }

    kindOf(tally) {
      return tally.max_selections === 1 ? "radio" : "checkbox";
    }

    fill(row, tally, choice) {
      const input = row.querySelector("input");
      input.type = row.dataset.kind;
      input.value = choice.number;
      row.classList.toggle("long", choice.label.length > LONG);
    }

    mark(selections) {
      for (const input of this.inputs) {
        const wanted = selections.includes(Number(input.value));
        if (input.checked !== wanted) input.checked = wanted;
      }
    }

    drawResults(tally, results, mine) {
      this.list.setAttribute("role", this.kindOf(tally) === "radio" ? "radiogroup" : "group");
      const bars = new Map(chart(tally, results).map((bar) => [bar.key, bar]));
      this.list.classList.toggle("decided", [...bars.values()].some((bar) => bar.won));
      for (const [row] of this.pairs(tally)) {
        row.querySelector(".mine").hidden = !mine.includes(numberOf(row));
        drawBar(row, bars.get(numberOf(row)));
      }
    }
  };
