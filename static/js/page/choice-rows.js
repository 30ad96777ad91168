/** Rows for bars: the cards of the voter's page and the bars of the screens. */

import { animateNumber, clearNumber } from "./motion.js";

const HUES = 8;

/** Return a copy of the template's row in the colour of its position. */
export function newChoiceRow(template, index) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.classList.add(`hue-${(index % HUES) + 1}`);
  return row;
}

/** Draw a bar of a method's chart (methods/registry.js) in its row, or an empty one for null. A full bar is 1. */
export function drawBar(row, bar) {
  row.style.setProperty("--fill", bar?.part ?? 0);
  row.classList.toggle("some", Boolean(bar?.some));
  row.classList.toggle("won", Boolean(bar?.won));
  drawFigure(row.querySelector(".share"), bar?.main);
  drawFigure(row.querySelector(".votes"), bar?.more);
}

function drawFigure(node, figure) {
  if (figure) animateNumber(node, figure.value, figure.format, figure.unit);
  else clearNumber(node);
}

/** Return the share of `votes` among `ballots` as a figure of a bar; shareTexts: shares() of the tally. */
export function shareFigure(votes, ballots, shareTexts) {
  const share = votes / ballots;
  return { value: share, format: (value) => (value === share ? shareTexts.of(votes) : shareTexts.near(value)), unit: 0.01 };
}
