/** Rows for choices: the cards of the voter's page and the bars of the screens. */

import { animateNumber, animateShare, clearNumber } from "./motion.js";

const HUES = 8;

/** Return a key that changes when rows must be made again. */
export const choicesKey = (choices) => JSON.stringify(choices.map(({ number, label }) => [number, label]));

/** Return a copy of the template's row in the colour of its position. */
export function newChoiceRow(template, index) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.classList.add(`hue-${(index % HUES) + 1}`);
  return row;
}

/** Draw a choice's share and votes. shareTexts: shares() of the tally, or null to hide results. A full bar is 100 %. */
export function drawResult(row, choice, ballots, shareTexts) {
  const [share, votes] = [row.querySelector(".share"), row.querySelector(".votes")];
  const shown = Boolean(shareTexts);
  row.style.setProperty("--fill", shown && ballots ? choice.votes / ballots : 0);
  row.classList.toggle("some", shown && choice.votes > 0 && choice.votes < ballots);
  if (shown) {
    animateShare(share, choice.votes, ballots, shareTexts);
    animateNumber(votes, choice.votes);
  } else {
    clearNumber(share);
    clearNumber(votes);
  }
}
