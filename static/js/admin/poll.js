/** A poll's page in the admin: its live tally, and its head (state and buttons), fetched again when the poll changes. */

import { Connection } from "../live/connection.js";
import { mergeState, mergeTally } from "../live/merge.js";
import { choicesKey, drawResult } from "../page/choice-rows.js";
import { animateNumber, clearNumber } from "../page/motion.js";
import { setText } from "../page/set-text.js";
import { shares } from "../text/texts.js";

const panel = document.getElementById("poll-panel");
const tallyBox = document.getElementById("poll-tally");
const form = document.getElementById("poll_form");
let shown = {};
let edited = false;
let refreshing = false;
let revision;

form?.addEventListener("input", () => (edited = true));
if (tallyBox) followTally(tallyBox.dataset);
// A draft has no tally to follow, but its schedule or a colleague may open it.
else setInterval(() => document.hidden || refreshHead(), 5000);

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
  const head = panel.querySelector("[data-state]").dataset;
  const moved = shown.state && (shown.state !== head.state || String(shown.round) !== head.round);
  if (moved || shown.revision !== revision) refreshHead();
  revision = shown.revision;
}

function draw(tally) {
  const rows = tallyBox.querySelector("[data-rows]");
  const key = choicesKey(tally.choices);
  if (rows.dataset.key !== key) {
    rows.dataset.key = key;
    rows.replaceChildren(...tally.choices.map(rowOf));
  }
  animateNumber(tallyBox.querySelector("[data-ballots]"), tally.ballots);
  const total = tallyBox.querySelector(".ls-total");
  total.querySelector("[data-unit]").textContent = tally.ballots === 1 ? total.dataset.one : total.dataset.many;
  drawQuarantine(tally.quarantined);
  const shareTexts = shares(tally, 1);
  tally.choices.forEach((choice, index) => {
    const row = rows.children[index];
    drawResult(row, choice, tally.ballots, shareTexts);
    if (!tally.ballots) setText(row.querySelector(".share"), shareTexts.of(0));
    drawWinner(row.querySelector(".ls-won"), tally.winners ?? [], choice.number);
    drawQuarantined(row.querySelector("[data-quarantined]"), choice, tally.quarantined);
  });
}

function drawWinner(tag, winners, number) {
  tag.hidden = !winners.includes(number);
  tag.textContent = winners.length > 1 ? tag.dataset.tied : tag.dataset.winner;
}

/** Show the second tally's column and notes, if there are quarantined ballots. */
function drawQuarantine(quarantined) {
  tallyBox.querySelector("[data-quarantine-head]").hidden = !quarantined;
  tallyBox.querySelector("[data-quarantine-note]").hidden = !quarantined;
  tallyBox.querySelector("[data-quarantine-withheld]").hidden = !quarantined?.withheld;
  if (quarantined) animateNumber(tallyBox.querySelector("[data-quarantine-ballots]"), quarantined.ballots);
}

function drawQuarantined(cell, choice, quarantined) {
  cell.hidden = !quarantined;
  const votes = quarantined?.choices?.find(({ number }) => number === choice.number)?.votes;
  if (quarantined?.withheld) {
    clearNumber(cell);
    cell.textContent = "–";
  } else if (quarantined) animateNumber(cell, votes ?? 0);
}

function rowOf(choice) {
  const row = tallyBox.querySelector("template").content.firstElementChild.cloneNode(true);
  row.querySelector(".ls-label").textContent = choice.label;
  return row;
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
    // The next message or interval tries again.
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
