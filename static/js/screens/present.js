/** The presenter's screen. */

import { keepAwake } from "./wake-lock.js";
import { Bars } from "./bars.js";
import { Controls } from "./controls.js";
import { drawFigures } from "../page/figures.js";
import { Layout } from "./layout.js";
import { clearNumber, animateNumber } from "../page/motion.js";
import { followPoll } from "./screen.js";
import { formatNumber, text } from "../text/texts.js";
import { assuranceText, figuresNote, closedText, closesText, hiddenText, isFinal, isOver, opensText, outcomeText, countdownText, quarantineText, allowsSeveral } from "../text/sentences.js";
import { setTextWithCountdown, setTextOrHide as set, setUserText } from "../page/set-text.js";
import "../page/printed.js";

const $ = (id) => document.getElementById(id);
const main = $("main");
const bars = new Bars($("bars"), $("bar"));
const layout = new Layout({ room: $("room"), list: $("bars"), bars, note: drawPart });

let hiding = null; // null until the presenter chooses: then what the audience may see decides
let last = null;

const redraw = followPoll(draw, { counted: false });
const controls = new Controls(main, {
  hide: () => {
    hiding = !isHiding(last.tally);
    redraw();
  },
});
new ResizeObserver(redraw).observe($("room"));
layout.ready?.then(redraw);
addEventListener("afterprint", redraw);
keepAwake();
// A proxy may ask the server under a name of its own, which no voter could open.
const { host } = main.dataset;
$("inner").hidden = !host || new URL(`//${host}`, location.href).host === location.host;

/** Staff get figures that the audience must not see yet: those come up only when asked for. */
function isHiding(tally) {
  if (hiding !== null) return hiding;
  if (tally.results_visible === "always") return false;
  return tally.results_visible === "staff" || !isFinal(tally);
}

function draw(view) {
  last = view;
  const { tally, gone } = view;
  const waiting = tally.state === "draft";
  const shown = Boolean(tally.visible) && !isHiding(tally) && !waiting && !gone;
  main.dataset.state = gone ? "gone" : tally.state;
  drawQuestion(tally, waiting, gone);
  bars.fit(tally.choices);
  layout.draw(tally, shown);
  set($("why"), gone || waiting || shown ? "" : tally.visible ? text("hiddenByPresenter") : hiddenText(tally));
  drawTotals(view, shown);
  drawFigures($("figures"), shown ? tally : { visible: false });
  controls?.draw({ hiding: isHiding(tally), possible: Boolean(tally.visible) && !waiting });
}

function drawQuestion(tally, waiting, gone) {
  const ours = gone ? text("gone") : waiting ? text("joinNow") : "";
  const words = ours || tally.question;
  setUserText($("question"), tally.question, ours);
  $("question").dataset.length = words.length > 140 ? "long" : words.length > 60 ? "medium" : "short";
  setTextWithCountdown($("state"), gone ? "" : stateWords(tally, waiting), countdownText(tally));
  const forResult = isOver(tally) || tally.identity === "client";
  set($("scan"), text(waiting ? "scanJoin" : forResult ? "scanResult" : "scan"));
}

function stateWords(tally, waiting) {
  if (waiting) return opensText(tally);
  return isOver(tally) ? closedText(tally) : closesText(tally);
}

function drawTotals({ tally, viewers }, shown) {
  const several = allowsSeveral(tally);
  figure("ballots", shown ? tally.ballots : null, several ? "votersWord" : "ballotsWord");
  figure("selections", shown && several ? tally.selections : null, "selectionsWord");
  figure("viewers", viewers, "watchingWord");
  set($("base"), shown ? figuresNote(tally) : "");
  set($("set-aside"), shown ? quarantineText(tally) : "");
  set($("outcome"), shown ? outcomeText(tally) : "");
  set($("assurance"), main.dataset.state === "gone" ? "" : assuranceText(tally));
}

/** Which choices are shown, in the room that the longest such sentence takes. */
function drawPart(words, longest) {
  set($("part"), words);
  set($("part-room"), longest);
}

/** A number and, small, what it is a number of. */
function figure(id, value, word) {
  const box = $(id);
  const node = box.querySelector("b");
  box.hidden = value === null;
  if (value === null) return clearNumber(node);
  animateNumber(node, value, (shown) => formatNumber(Math.round(shown)));
  set(box.querySelector("span"), text(word, { count: value }));
}
