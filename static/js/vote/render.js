/** Draws the voter's page from its state. */

import { drawFigures } from "../methods/figures.js";
import { methodOf } from "../methods/registry.js";
import { announcementText, figuresNote, outcomeText, quarantineText, totalsText } from "../methods/sentences.js";
import { setText, setTextWithCountdown, setUserText } from "../page/set-text.js";
import { assuranceText, closedText, closesText, countdownText, hiddenText, isOver, noBallotsText, opensText } from "../text/sentences.js";
import { isolated, text } from "../text/texts.js";
import { isFillingIn, mineOf, phaseOf, showsResults, shownSelections, wantsInvite } from "./state.js";

const $ = (id) => document.getElementById(id);

export function render(state, { form, bar, entry, announce }) {
  const { tally } = state;
  const phase = phaseOf(state);
  const [fillingIn, results] = [isFillingIn(state), showsResults(state)];
  $("main").dataset.phase = phase;
  $("main").dataset.state = tally.state;
  drawQuestion(state, phase);
  drawVoter(state);
  const mine = fillingIn ? [] : (mineOf(state)?.selections ?? []);
  form.draw(tally, { selections: shownSelections(state), locked: !fillingIn, results, mine });
  drawPeek(state, phase);
  setText($("totals"), resultsText(state, phase));
  entry.draw(wantsInvite(state));
  bar.draw(state);
  drawFigures($("figures"), results ? tally : { visible: false });
  if (results) announce(announcementText(tally));
}

function drawQuestion({ tally, gone, notice, outbox }, phase) {
  const waiting = phase === "waiting";
  setUserText($("question"), tally.question, gone ? text("gone") : waiting ? text("notOpen") : "");
  $("question").classList.toggle("long", !waiting && tally.question.length > 120);
  $("ballot").hidden = gone || (waiting && !notice && !outbox.pending);
  setTextWithCountdown($("rule"), gone ? "" : ruleText(tally, phase), countdownText(tally));
  const title = waiting || !tally.question ? tally.poll : isolated(tally.question);
  setText(document.querySelector("title"), `${title} · Landslide`);
}

function ruleText(tally, phase) {
  if (phase === "waiting") return tally.opens_at ? `${opensText(tally)} ${text("opensByItself")}` : opensText(tally);
  if (isOver(tally)) return closedText(tally);
  if (["voted", "barred"].includes(phase)) return closesText(tally);
  const rule = methodOf(tally).rule(tally);
  return [text(rule.key, rule), closesText(tally)].filter(Boolean).join(" · ");
}

/** Say who votes here, if known, and what counts as one voter. */
function drawVoter({ tally, voter, gone }) {
  const known = voter?.identity === tally.identity ? voter : null;
  const account = known?.account ?? null;
  const signedIn = account !== null && text("signedInAs", { account: isolated(account) });
  const invited = known?.identity === "invite" && known.eligible;
  setText($("who-words"), gone ? "" : signedIn || (invited ? text("inviteAccepted") : assuranceText(tally)));
  $("sign-out").hidden = gone || account === null;
  $("sign-in-early").hidden = gone || known?.needs !== "login" || tally.state === "open";
}

function drawPeek({ tally, voter, peeking }, phase) {
  const peek = $("peek");
  const offered = ["choosing", "preparing", "barred"].includes(phase) && Boolean(tally.visible) && voter?.needs !== "client";
  peek.hidden = !offered && document.activeElement !== peek;
  setText(peek, text(peeking ? "hideResults" : "showResults"));
  peek.setAttribute("aria-expanded", String(peeking));
}

function resultsText(state, phase) {
  const { tally } = state;
  if (phase === "waiting" || phase === "gone") return "";
  if (tally.visible === false) {
    const entitled = tally.results_visible === "after_vote" && mineOf(state) && tally.state === "open";
    return entitled ? text("onTheirWay") : hiddenText(tally);
  }
  if (!showsResults(state)) return "";
  const counted = tally.ballots ? [outcomeText(tally), totalsText(tally)] : [noBallotsText(tally)];
  return [...counted, figuresNote(tally), quarantineText(tally)].filter(Boolean).join(" · ");
}
