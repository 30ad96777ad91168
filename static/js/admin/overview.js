/** The admin's overview, refreshed every few seconds while the page is visible. The server sends whole sentences. */

import { setText } from "../page/set-text.js";

const PAUSE = 3000;
const TIMEOUT = 15000;
const box = document.getElementById("overview");
let refreshing = false;

setInterval(() => document.hidden || refresh(), PAUSE);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();

async function refresh() {
  if (refreshing) return;
  refreshing = true;
  try {
    // A redirect leads to the login page: the session has ended.
    const options = { redirect: "error", cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) };
    const response = await fetch(box.dataset.url, options);
    if (!response.ok) throw new Error(response.status);
    draw(await response.json());
  } catch {
    drawAlarms([["ls-bad", box.dataset.lost]]);
  } finally {
    refreshing = false;
  }
}

function draw({ alarms, modes, cards, ...lists }) {
  drawAlarms([...alarms.map((text) => ["ls-bad", text]), ...modes.map((text) => ["ls-warn", text])]);
  for (const [name, { value, note, tone }] of Object.entries(cards)) {
    const card = box.querySelector(`[data-card="${name}"]`);
    card.dataset.tone = tone;
    setText(card.querySelector("strong"), value);
    setText(card.querySelector("p"), note);
  }
  for (const [name, items] of Object.entries(lists)) drawList(name, items);
}

/** Draw the alarms, a list of [class, text], but only after a change: screen readers announce each update. */
function drawAlarms(alarms) {
  const place = box.querySelector("[data-alarms]");
  if (JSON.stringify(alarms) === place.dataset.shown) return;
  place.dataset.shown = JSON.stringify(alarms);
  place.replaceChildren(
    ...alarms.map(([tone, text]) => {
      const line = document.createElement("p");
      line.className = tone;
      line.textContent = text;
      return line;
    }),
  );
}

/** Update rows in place, so that a link in a row keeps the focus. */
function drawList(name, items) {
  const list = box.querySelector(`[data-list="${name}"]`);
  if (!list) return;
  const template = box.querySelector(`[data-row="${name}"]`);
  const rows = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const wanted = items.map((item) => {
    const key = item[list.dataset.key];
    const row = rows.get(key) ?? template.content.firstElementChild.cloneNode(true);
    row.dataset.key = key;
    row.dataset.tone = item.tone ?? "";
    for (const node of row.querySelectorAll("[data-text]")) setText(node, item[node.dataset.text]);
    for (const node of row.querySelectorAll("[data-href]")) node.href = item[node.dataset.href];
    return row;
  });
  if (wanted.length !== rows.size || wanted.some((row, index) => list.children[index] !== row)) {
    list.replaceChildren(...wanted);
  }
  box.querySelector(`[data-empty="${name}"]`).hidden = items.length > 0;
  list.closest("table")?.toggleAttribute("hidden", items.length === 0);
}
