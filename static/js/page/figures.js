/** The tally as a table, beside every chart. Cells change in place, so that a screen reader keeps its row. */

import { figuresNote, totalsText } from "../text/sentences.js";
import { formatNumber, isolated, shares, text } from "../text/texts.js";
import { setText } from "./set-text.js";

const DECIMALS = 1;

export function drawFigures(container, tally) {
  const shown = Boolean(tally.visible);
  container.hidden = !shown;
  if (!shown) return;
  const table = container.querySelector("table");
  setText(table.caption, [totalsText(tally), figuresNote(tally, DECIMALS)].filter(Boolean).join(". "));
  const shareTexts = shares(tally, DECIMALS);
  const quarantined = tally.quarantined?.choices;
  const quarantinedVotes = new Map(quarantined?.map(({ number, votes }) => [number, votes]));
  table.tHead.rows[0].cells[3].hidden = !quarantined;
  container.classList.toggle("on-paper", Boolean(quarantined)); // print the table: no chart shows the second tally
  const body = table.tBodies[0];
  while (body.rows.length > tally.choices.length) body.deleteRow(-1);
  tally.choices.forEach((choice, index) => {
    const { cells } = body.rows[index] ?? newRow(body);
    setText(cells[0], labelText(choice, tally.winners ?? []));
    setText(cells[1], formatNumber(choice.votes));
    setText(cells[2], shareTexts.of(choice.votes));
    cells[3].hidden = !quarantined;
    setText(cells[3], quarantined ? formatNumber(quarantinedVotes.get(choice.number) ?? 0) : "");
  });
}

function labelText({ number, label }, winners) {
  if (!winners.includes(number)) return label;
  return text(winners.length > 1 ? "tiedFirst" : "winner", { choices: isolated(label) });
}

function newRow(body) {
  const row = body.insertRow();
  const head = document.createElement("th");
  head.scope = "row";
  head.dir = "auto";
  row.append(head);
  for (let column = 0; column < 3; column += 1) row.insertCell().className = "number";
  return row;
}
