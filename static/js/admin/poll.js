/** A poll's page in the admin: the tally as it moves, and the head that follows the poll's lifecycle. */

import { Connection } from "../live/connection.js";
import { clearNumber, animateNumber } from "../page/motion.js";
import { mergeState, mergeTally } from "../live/merge.js";
import { formatNumber, shares } from "../text/texts.js";

const panel = document.getElementById("poll-panel");
const tallyBox = document.getElementById("poll-tally");
const form = document.getElementById("poll_form");
let shown = {};
let changed = false;
let asking = false;
let revision;

form?.addEventListener("input", () => (changed = true));
if (tallyBox) watch(tallyBox.dataset);
else watchDraft();

function watch({ root, code }) {
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

/** A draft has no tally, but the clock or a colleague may open it. */
function watchDraft() {
  setInterval(() => document.hidden || follow(), 5000);
}

function show(next) {
  shown = next;
  if (shown.visible) draw(shown);
  const head = panel.querySelector("[data-state]").dataset;
  const moved = shown.state && (shown.state !== head.state || String(shown.round) !== head.round);
  if (moved || shown.revision !== revision) follow();
  revision = shown.revision;
}

function draw(tally) {
  const rows = tallyBox.querySelector("[data-rows]");
  const key = JSON.stringify(tally.choices.map((choice) => [choice.number, choice.label]));
  if (rows.dataset.key !== key) {
    rows.dataset.key = key;
    rows.replaceChildren(...tally.choices.map(rowOf));
  }
  animateNumber(tallyBox.querySelector("[data-ballots]"), tally.ballots, whole);
  const total = tallyBox.querySelector(".ls-total");
  total.querySelector("[data-unit]").textContent = tally.ballots === 1 ? total.dataset.one : total.dataset.many;
  drawApart(tally.quarantined);
  const words = shares(tally, 1);
  tally.choices.forEach((choice, index) => {
    const row = rows.children[index];
    row.style.setProperty("--fill", tally.ballots ? choice.votes / tally.ballots : 0);
    row.classList.toggle("some", choice.votes > 0 && choice.votes < tally.ballots);
    drawWinner(row.querySelector(".ls-won"), tally.winners ?? [], choice.number);
    animateNumber(row.querySelector("[data-votes]"), choice.votes, whole);
    row.querySelector("[data-share]").textContent = words.of(choice.votes);
    drawApartVotes(row, choice, tally.quarantined);
  });
}

function drawWinner(tag, winners, number) {
  tag.hidden = !winners.includes(number);
  tag.textContent = winners.length > 1 ? tag.dataset.tied : tag.dataset.winner;
}

/** The second tally, beside the first, only where there is one. */
function drawApart(apart) {
  tallyBox.querySelector("[data-apart-head]").hidden = !apart;
  tallyBox.querySelector("[data-apart-note]").hidden = !apart;
  tallyBox.querySelector("[data-apart-withheld]").hidden = !apart?.withheld;
  if (apart) animateNumber(tallyBox.querySelector("[data-apart-ballots]"), apart.ballots, whole);
}

function drawApartVotes(row, choice, apart) {
  const cell = row.querySelector("[data-apart]");
  cell.hidden = !apart;
  const votes = apart?.choices?.find(({ number }) => number === choice.number)?.votes;
  if (apart?.withheld) {
    clearNumber(cell);
    cell.textContent = "–";
  } else if (apart) animateNumber(cell, votes ?? 0, whole);
}

function rowOf(choice) {
  const row = tallyBox.querySelector("template").content.firstElementChild.cloneNode(true);
  row.querySelector(".ls-label").textContent = choice.label;
  return row;
}

const whole = (value) => formatNumber(Math.round(value));

/** The poll has moved: fetch the head. Between draft and the rest the form is another one, so the whole page. */
async function follow() {
  if (asking) return;
  asking = true;
  try {
    const response = await fetch(panel.dataset.url, { redirect: "error", cache: "no-store" });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-state]");
    if (fresh) replace(panel.querySelector("[data-state]"), fresh);
  } catch {
    // The next message or turn asks again.
  } finally {
    asking = false;
  }
}

function replace(old, fresh) {
  const same = ["state", "round", "proof"].every((name) => old.dataset[name] === fresh.dataset[name]);
  if (same) return;
  const otherForm = (old.dataset.state === "draft") !== (fresh.dataset.state === "draft");
  if (otherForm && !changed) return location.reload();
  if (otherForm) document.getElementById("poll-moved").hidden = false;
  old.replaceWith(document.importNode(fresh, true));
}
