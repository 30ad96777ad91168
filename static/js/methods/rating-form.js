/** The form of a rating: each item has a scale of radio buttons. With results, the scale shows their distribution. */

import { drawBar } from "../page/choice-rows.js";
import { setText } from "../page/set-text.js";
import { text } from "../text/texts.js";
import { ChoiceForm, numberOf } from "./choice-form.js";

const SIGNS = { stars: "★", hearts: "♥" };
const TEN = 1500; // milliseconds in which the keys 1 and 0 make a ten

/** values(config): the scale; bars(tally, shown): the items' bars; endLabels(config): the scale's two end labels. */
export const ratingsWith = ({ values, bars, endLabels }) =>
  class Ratings extends ChoiceForm {
    #lastOne = -TEN;

    constructor(...options) {
      super(...options);
      this.list.addEventListener("click", ({ target }) => target.matches(".clear") && this.#clear(target.closest(".item")));
      this.list.addEventListener("keydown", (event) => this.#key(event));
    }

    /** The ratings as [item's number, value] pairs. */
    get selections() {
      const checked = this.inputs.filter((input) => input.checked);
      return checked.map((input) => [numberOf(input.closest(".item")), Number(input.value)]);
    }

    kindOf({ config }) {
      return JSON.stringify(config);
    }

    fill(row, { config }, { number }) {
      const scale = row.querySelector(".scale");
      const [tile] = scale.children;
      const all = values(config);
      const [low, high] = endLabels(config);
      scale.dataset.style = config.style;
      scale.dataset.steps = config.scale;
      scale.replaceChildren(
        ...all.map((value, index) => {
          const rate = tile.cloneNode(true);
          Object.assign(rate.querySelector("input"), { name: `rating-${number}`, value });
          rate.querySelector(".sign").textContent = SIGNS[config.style] ?? "";
          rate.querySelector(".number").textContent = value;
          const end = index === 0 ? low : index === all.length - 1 ? high : "";
          rate.querySelector(".end").textContent = end && ` (${end})`;
          return rate;
        }),
      );
      row.querySelector(".low bdi").textContent = low;
      row.querySelector(".high bdi").textContent = high;
      row.querySelector(".clear").setAttribute("aria-label", text("clearRating", { item: row.querySelector(".label").textContent }));
    }

    mark(selections) {
      const marked = new Map(selections);
      for (const row of this.rows) {
        const value = marked.get(numberOf(row));
        for (const input of row.querySelectorAll("input")) input.checked = Number(input.value) === value;
      }
    }

    drawResults(tally, results, mine) {
      const ofMine = new Map(mine);
      const byNumber = new Map(bars(tally, results).map((bar) => [bar.key, bar]));
      for (const [row, choice] of this.pairs(tally)) {
        const number = numberOf(row);
        row.querySelector(".clear").hidden = this.locked || !row.querySelector("input:checked");
        row.querySelector(".mine").hidden = !ofMine.has(number);
        setText(row.querySelector(".mine-value"), String(ofMine.get(number) ?? ""));
        drawBar(row, byNumber.get(number));
        [...row.querySelectorAll(".rate")].forEach((rate, index) => {
          const part = results && choice.answers ? choice.distribution[index] / choice.answers : 0;
          rate.style.setProperty("--part", part);
        });
      }
    }

    #clear(row) {
      for (const input of row.querySelectorAll("input")) input.checked = false;
      row.querySelector("input").focus();
      this.onSelect(this.selections);
    }

    /** Digits rate the focused item; Delete and Backspace clear it. */
    #key(event) {
      const row = event.target.matches("input") && event.target.closest(".item");
      if (!row || this.locked || event.ctrlKey || event.metaKey || event.altKey) return;
      if (["Delete", "Backspace"].includes(event.key)) {
        event.preventDefault();
        this.#clear(row);
      } else if (/^\d$/.test(event.key)) {
        const isTen = event.key === "0" && performance.now() - this.#lastOne < TEN;
        this.#lastOne = event.key === "1" ? performance.now() : -TEN;
        this.#rate(row, isTen ? 10 : Number(event.key));
      }
    }

    #rate(row, value) {
      const input = row.querySelector(`input[value="${value}"]`);
      if (!input) return;
      input.checked = true;
      input.focus();
      this.onSelect(this.selections);
    }
  };
