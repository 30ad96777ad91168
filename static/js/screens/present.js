/** The presenter's screen. */

import { drawFigures } from "../methods/figures.js";
import { methodOf } from "../methods/registry.js";
import { figuresNote, outcomeText, quarantineText } from "../methods/sentences.js";
import { animateNumber, clearNumber } from "../page/motion.js";
import { setText, setTextOrHide, setTextWithCountdown, setUserText } from "../page/set-text.js";
import { assuranceText, countdownText, hiddenText, isFinal, isOver, timesText } from "../text/sentences.js";
import { text } from "../text/texts.js";
import { Bars } from "./bars.js";
import { Controls } from "./controls.js";
import { Layout } from "./layout.js";
import { followPoll } from "./screen.js";
import { keepAwake } from "./wake-lock.js";
import "../page/printed.js";

const $ = (id) => document.getElementById(id);
const main = $("main");
const bars = new Bars($("bars"), $("bar"));
const layout = new Layout({ room: $("room"), list: $("bars"), bars, onPart: drawPart });

let hiding = null; // null until the presenter chooses; until then isHiding() decides
let tallyShown = null;

const redraw = followPoll(draw, { counted: false });
const controls = new Controls(main, {
  hide: () => {
    hiding = !isHiding(tallyShown);
    redraw();
  },
});
new ResizeObserver(redraw).observe($("room"));
layout.ready?.then(redraw);
addEventListener("afterprint", redraw);
keepAwake();
// Behind a proxy the server may see an internal host name, which no voter could open.
const { host } = main.dataset;
$("inner").hidden = !host || new URL(`//${host}`, location.href).host === location.host;

/** Tell whether to hide the figures. Figures that only staff may see stay hidden until the presenter shows them. */
function isHiding(tally) {
  if (hiding !== null) return hiding;
  if (tally.results_visible === "always") return false;
  return tally.results_visible === "staff" || !isFinal(tally);
}

function draw({ tally, viewers, gone }) {
  tallyShown = tally;
  const waiting = tally.state === "draft";
  const shown = Boolean(tally.visible) && !isHiding(tally) && !waiting && !gone;
  main.dataset.state = gone ? "gone" : tally.state;
  drawQuestion(tally, waiting, gone);
  const chart = methodOf(tally).chart(tally, shown);
  bars.setChart(chart);
  layout.draw(chart, { shown, counted: Boolean(tally.ballots) });
  setTextOrHide($("why"), gone || waiting || shown ? "" : tally.visible ? text("hiddenByPresenter") : hiddenText(tally));
  drawCounts(tally, viewers, shown);
  setTextOrHide($("figures-note"), shown ? figuresNote(tally) : "");
  setTextOrHide($("quarantine"), shown ? quarantineText(tally) : "");
  setTextOrHide($("outcome"), shown ? outcomeText(tally) : "");
  setTextOrHide($("assurance"), gone ? "" : assuranceText(tally));
  drawFigures($("figures"), shown ? tally : { visible: false });
  controls.draw({ hiding: isHiding(tally), possible: Boolean(tally.visible) && !waiting });
}

function drawQuestion(tally, waiting, gone) {
  const ours = gone ? text("gone") : waiting ? text("joinNow") : "";
  const { length } = ours || tally.question;
  setUserText($("question"), tally.question, ours);
  $("question").dataset.length = length > 140 ? "long" : length > 60 ? "medium" : "short";
  setTextWithCountdown($("state"), gone ? "" : timesText(tally), countdownText(tally));
  const forResult = isOver(tally) || tally.identity === "client";
  setText($("scan"), text(waiting ? "scanJoin" : forResult ? "scanResult" : "scan"));
}

function drawCounts(tally, viewers, shown) {
  const [first, second = [null, ""]] = shown ? methodOf(tally).counts(tally) : [[null, ""]];
  drawCount("ballots", ...first);
  drawCount("selections", ...second);
  drawCount("viewers", viewers, "watchingWord");
}

/** Draw a number and its unit. */
function drawCount(id, value, key) {
  const box = $(id);
  const node = box.querySelector("b");
  box.hidden = value === null;
  if (value === null) return clearNumber(node);
  animateNumber(node, value);
  setText(box.querySelector("span"), text(key, { count: value }));
}

/** Say which choices are shown, in room reserved for the longest such sentence. */
function drawPart(words, longest) {
  setTextOrHide($("part"), words);
  setTextOrHide($("part-room"), longest);
}
