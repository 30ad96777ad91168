/** The bars of the results page and the presenter's screen: a method's chart (methods/registry.js). */

import { drawBar, newChoiceRow } from "../page/choice-rows.js";
import { setText } from "../page/set-text.js";

export class Bars {
  #key = null;

  constructor(list, template) {
    this.list = list;
    this.template = template;
  }

  /** Make a row for each bar of the chart, if the bars have changed. */
  setChart(chart) {
    const key = JSON.stringify(chart.map(({ key, label }) => [key, label]));
    if (key === this.#key) return;
    this.#key = key;
    this.list.replaceChildren(...chart.map((bar, index) => newChoiceRow(this.template, bar.hue ?? index)));
    this.list.style.setProperty("--count", chart.length);
    this.setLabels(chart.map(({ label }) => label));
  }

  /** Set the labels, in the order of the bars. They may be shortened. */
  setLabels(labels) {
    labels.forEach((label, index) => setText(this.list.children[index].querySelector(".bar-label"), label));
  }

  /** shown: whether to show figures; only: the keys of the bars to show, or null for all. */
  draw(chart, { shown, only = null }) {
    // A screen reader gets the table instead.
    this.list.setAttribute("aria-hidden", String(shown));
    this.list.classList.toggle("decided", chart.some((bar) => bar.won));
    chart.forEach((bar, index) => {
      const row = this.list.children[index];
      row.hidden = Boolean(only) && !only.includes(bar.key);
      drawBar(row, bar);
    });
  }
}
