/** The table beside every chart. Cells change in place, so that a screen reader keeps its row. */

import { isolated, formatNumber, shares, text } from "../text/texts.js";
import { figuresNote, totalsText } from "../text/sentences.js";
import { setText as set } from "./set-text.js";

const TABLE_DECIMALS = 1;

export function drawFigures(container, tally) {
  const shown = Boolean(tally.visible);
  container.hidden = !shown;
  if (!shown) return;
  const table = container.querySelector("table");
  set(table.caption, [totalsText(tally), figuresNote(tally, TABLE_DECIMALS)].filter(Boolean).join(". "));
  const words = shares(tally, TABLE_DECIMALS);
  const apart = tally.quarantined?.choices;
  const apartVotes = new Map(apart?.map(({ number: each, votes }) => [each, votes]));
  table.tHead.rows[0].cells[3].hidden = !apart;
  container.classList.toggle("on-paper", Boolean(apart)); // no chart shows the second tally
  const body = table.tBodies[0];
  while (body.rows.length > tally.choices.length) body.deleteRow(-1);
  tally.choices.forEach((choice, index) => {
    const row = body.rows[index] ?? newRow(body);
    set(row.cells[0], named(choice, tally.winners ?? []));
    set(row.cells[1], formatNumber(choice.votes));
    set(row.cells[2], words.of(choice.votes));
    row.cells[3].hidden = !apart;
    set(row.cells[3], apart ? formatNumber(apartVotes.get(choice.number) ?? 0) : "");
  });
}

function named({ number, label }, winners) {
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
