/** The tally as a table, beside every chart. Cells change in place, so that a screen reader keeps its row. */

import { setText } from "../page/set-text.js";
import { isolated, text } from "../text/texts.js";
import { methodOf } from "./registry.js";
import { figuresNote, totalsText } from "./sentences.js";

const DECIMALS = 1;

export function drawFigures(container, tally) {
  const shown = Boolean(tally.visible);
  container.hidden = !shown;
  if (!shown) return;
  const table = container.querySelector("table");
  setText(table.caption, [totalsText(tally), figuresNote(tally, DECIMALS)].filter(Boolean).join(". "));
  const { head, rows } = methodOf(tally).table(tally);
  container.classList.toggle("on-paper", Boolean(tally.quarantined?.choices)); // print the table: no chart shows the second tally
  drawCells(table.tHead.rows[0], head, newHeading);
  const body = table.tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  const winners = rows.filter(({ won }) => won).length;
  rows.forEach(({ label, won, cells }, index) => {
    const named = won ? text(winners > 1 ? "tiedFirst" : "winner", { choices: isolated(label) }) : label;
    drawCells(body.rows[index] ?? body.insertRow(), [named, ...cells], newCell);
  });
}

function drawCells(row, words, make) {
  while (row.cells.length > words.length) row.deleteCell(-1);
  while (row.cells.length < words.length) row.append(make(row.cells.length));
  words.forEach((word, column) => setText(row.cells[column], word));
}

function newHeading(column) {
  const cell = document.createElement("th");
  cell.scope = "col";
  if (column) cell.className = "number";
  return cell;
}

function newCell(column) {
  const cell = document.createElement(column ? "td" : "th");
  if (column) {
    cell.className = "number";
  } else {
    cell.scope = "row";
    cell.dir = "auto";
  }
  return cell;
}
