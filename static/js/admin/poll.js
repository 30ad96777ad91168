/** A poll's page in the admin: its live tally, and its head (state and buttons), fetched again when the poll changes. */

import { Connection } from "../live/connection.js";
import { mergeState, mergeTally } from "../live/merge.js";
import { methodOf } from "../methods/registry.js";
import { figuresNote } from "../methods/sentences.js";
import { animateNumber } from "../page/motion.js";
import { setText, setTextOrHide } from "../page/set-text.js";

const panel = document.getElementById("poll-panel");
const tallyBox = document.getElementById("poll-tally");
const form = document.getElementById("poll_form");
let shown = {};
let edited = false;
let refreshing = false;
let revision;

form?.addEventListener("input", () => (edited = true));
if (tallyBox) {
  followTally(tallyBox.dataset);
  // The head is fetched again if the last time failed, or was answered just before a change.
  setInterval(() => document.hidden || (isBehind() && refreshHead()), 1000);
} else {
  // A draft has no tally to follow, but its schedule or a colleague may open it.
  setInterval(() => document.hidden || refreshHead(), 5000);
}

function followTally({ root, code }) {
  const live = new Connection({
    root,
    code,
    counted: false,
    onTally: (tally) => show(mergeTally(shown, tally)),
    onState: (message) => show(mergeState(shown, message)),
    onStatus: (status) => {
      const pill = tallyBox.querySelector("[data-status]");
      pill.textContent = pill.dataset[status];
      pill.dataset.status = status;
    },
  });
  live.start();
}

function show(next) {
  shown = next;
  if (shown.visible) draw(shown);
  if (isBehind() || shown.revision !== revision) refreshHead();
  revision = shown.revision;
}

/** Return whether the head shows another state or round than the live tally. */
function isBehind() {
  const head = panel.querySelector("[data-state]").dataset;
  return Boolean(shown.state) && (shown.state !== head.state || String(shown.round) !== head.round);
}

function draw(tally) {
  const { head, rows } = methodOf(tally).table(tally);
  drawHead(head);
  animateNumber(tallyBox.querySelector("[data-ballots]"), tally.ballots);
  const total = tallyBox.querySelector(".ls-total");
  total.querySelector("[data-unit]").textContent = tally.ballots === 1 ? total.dataset.one : total.dataset.many;
  drawQuarantine(tally.quarantined);
  setTextOrHide(tallyBox.querySelector("[data-note]"), figuresNote(tally, 1));
  const body = tallyBox.querySelector("[data-rows]");
  while (body.rows.length > rows.length) body.deleteRow(-1);
  const winners = rows.filter(({ won }) => won).length;
  rows.forEach((row, index) => drawRow(body.rows[index] ?? body.appendChild(newRow()), row, winners));
}

function drawHead(head) {
  const row = tallyBox.querySelector("[data-head]");
  if (row.dataset.words === String(head)) return;
  row.dataset.words = String(head);
  row.replaceChildren(
    ...head.map((words, column) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.className = column ? "ls-figure" : "";
      cell.textContent = words;
      return cell;
    }),
  );
}

function drawRow(row, { label, won, part, cells }, winners) {
  setText(row.querySelector(".ls-label"), label);
  const tag = row.querySelector(".ls-won");
  tag.hidden = !won;
  tag.textContent = winners > 1 ? tag.dataset.tied : tag.dataset.winner;
  row.style.setProperty("--fill", part);
  row.classList.toggle("some", part > 0 && part < 1);
  while (row.cells.length > cells.length + 1) row.deleteCell(-1);
  while (row.cells.length < cells.length + 1) row.insertCell().className = "ls-figure";
  cells.forEach((words, index) => setText(row.cells[index + 1], words));
}

const newRow = () => tallyBox.querySelector("template").content.firstElementChild.cloneNode(true);

/** Show the second tally's notes, if there are quarantined ballots. */
function drawQuarantine(quarantined) {
  tallyBox.querySelector("[data-quarantine-note]").hidden = !quarantined;
  tallyBox.querySelector("[data-quarantine-withheld]").hidden = !quarantined?.withheld;
  if (quarantined) animateNumber(tallyBox.querySelector("[data-quarantine-ballots]"), quarantined.ballots);
}

/** Fetch the head again after the poll has changed. */
async function refreshHead() {
  if (refreshing) return;
  refreshing = true;
  try {
    const response = await fetch(panel.dataset.url, { redirect: "error", cache: "no-store" });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-state]");
    if (fresh) replace(panel.querySelector("[data-state]"), fresh);
  } catch {
    // The next interval tries again.
  } finally {
    refreshing = false;
  }
}

/** Replace the head. A draft's page has a different form, so entering or leaving that state reloads the whole page. */
function replace(old, fresh) {
  if (["state", "round", "proof"].every((name) => old.dataset[name] === fresh.dataset[name])) return;
  const otherForm = (old.dataset.state === "draft") !== (fresh.dataset.state === "draft");
  if (otherForm && !edited) return location.reload();
  if (otherForm) document.getElementById("poll-moved").hidden = false;
  old.replaceWith(document.importNode(fresh, true));
}
