/** The results page: chart or table, totals, and how it stands. */

import { Bars } from "./bars.js";
import { drawFigures } from "../page/figures.js";
import { followPoll } from "./screen.js";
import { clockTime, text } from "../text/texts.js";
import { assuranceText, figuresNote, closedText, closesText, hiddenText, isFinal, isOver, noBallotsText, opensText, outcomeText, countdownText, quarantineText, totalsText } from "../text/sentences.js";
import { setText, setTextWithCountdown, setTextOrHide as set, setUserText } from "../page/set-text.js";
import { now } from "../live/server-clock.js";
import "../page/printed.js";

const $ = (id) => document.getElementById(id);
const bars = new Bars($("bars"), $("bar"));
let asTable = false;

const redraw = followPoll(draw);

$("as-table").addEventListener("click", () => {
  asTable = !asTable;
  redraw();
});

function draw(view) {
  const { tally, gone } = view;
  const shown = Boolean(tally.visible) && !gone;
  const waiting = tally.state === "draft" && !gone;
  // Said where the figures will be: a notice that comes and goes would move the whole page twice.
  const fetching = tally.visible === undefined && !waiting && !gone;
  setUserText($("question"), tally.question, gone ? text("gone") : waiting ? text("notOpen") : "");
  setTextWithCountdown($("state"), gone ? "" : stateWords(tally, waiting), countdownText(tally));
  bars.fit(gone ? [] : tally.choices);
  if (tally.choices.length) bars.draw(tally, { shown });
  set($("totals"), shown && !waiting ? totalsText(tally) : "");
  set($("base"), fetching ? hiddenText(tally) : shown && !waiting ? noBallotsText(tally) || figuresNote(tally) : "");
  set($("set-aside"), shown && !waiting ? quarantineText(tally) : "");
  set($("outcome"), shown ? outcomeText(tally) : fetching && mayTell(tally) ? "\u00a0" : ""); // its line is there before
  set($("why"), shown || waiting || gone || fetching ? "" : hiddenText(tally));
  set($("assurance"), gone ? "" : assuranceText(tally));
  set($("lost"), lost(view));
  drawFigures($("figures"), shown ? tally : { visible: false });
  $("figures").classList.toggle("visually-hidden", !asTable);
  $("bars").hidden = waiting || (asTable && shown);
  $("as-table").hidden = !shown || waiting;
  setText($("as-table"), text(asTable ? "asChart" : "asTable"));
  $("vote").hidden = gone || tally.state !== "open" || tally.identity === "client";
}

function stateWords(tally, waiting) {
  if (waiting) return opensText(tally);
  return isOver(tally) ? closedText(tally) : closesText(tally);
}

/** May there be a winner to name, once the tally is here? */
const mayTell = (tally) => isFinal(tally) && tally.results_visible !== "staff";

function lost({ status, since, gone, tally }) {
  if (gone || status === "live" || status === "connecting") return "";
  return since && tally.visible ? text("notReached", { time: clockTime(since, now()) }) : text("unreachable");
}
