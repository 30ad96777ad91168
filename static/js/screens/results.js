/** The results page: chart or table, totals and state. */

import { now } from "../live/server-clock.js";
import { drawFigures } from "../methods/figures.js";
import { methodOf } from "../methods/registry.js";
import { figuresNote, outcomeText, quarantineText, totalsText } from "../methods/sentences.js";
import { setText, setTextOrHide, setTextWithCountdown, setUserText } from "../page/set-text.js";
import { assuranceText, countdownText, hiddenText, isFinal, noBallotsText, timesText } from "../text/sentences.js";
import { clockTime, text } from "../text/texts.js";
import { Bars } from "./bars.js";
import { followPoll } from "./screen.js";
import "../page/printed.js";
import "../page/theme.js";

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
  const waiting = tally.state === "draft" && !gone;
  const shown = Boolean(tally.visible) && !gone && !waiting;
  // Say in the line for the figures that the tally is being fetched: a separate notice would move the page twice.
  const fetching = tally.visible === undefined && !waiting && !gone;
  setUserText($("question"), tally.question, gone ? text("gone") : waiting ? text("notOpen") : "");
  setTextWithCountdown($("state"), gone ? "" : timesText(tally), countdownText(tally));
  const chart = gone ? [] : methodOf(tally).chart(tally, shown);
  bars.setChart(chart);
  bars.draw(chart, { shown });
  setTextOrHide($("totals"), shown ? totalsText(tally) : "");
  setTextOrHide($("figures-note"), fetching ? hiddenText(tally) : shown ? noBallotsText(tally) || figuresNote(tally) : "");
  setTextOrHide($("quarantine"), shown ? quarantineText(tally) : "");
  // The outcome's line is reserved, so that nothing moves when it appears.
  setTextOrHide($("outcome"), shown ? outcomeText(tally) : fetching && mayHaveWinner(tally) ? "\u00a0" : "");
  setTextOrHide($("why"), shown || waiting || gone || fetching ? "" : hiddenText(tally));
  setTextOrHide($("assurance"), gone ? "" : assuranceText(tally));
  setTextOrHide($("lost"), lostText(view));
  drawFigures($("figures"), shown ? tally : { visible: false });
  $("figures").classList.toggle("visually-hidden", !asTable);
  $("bars").hidden = waiting || (asTable && shown);
  $("as-table").hidden = !shown;
  setText($("as-table"), text(asTable ? "asChart" : "asTable"));
  $("vote").hidden = gone || tally.state !== "open" || tally.identity === "client";
}

const mayHaveWinner = (tally) => isFinal(tally) && tally.results_visible !== "staff";

function lostText({ status, since, gone, tally }) {
  if (gone || status === "live" || status === "connecting") return "";
  return since && tally.visible ? text("notReached", { time: clockTime(since, now()) }) : text("unreachable");
}
