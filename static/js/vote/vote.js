/** The voter's page: choose, cast, watch. */

import { announcer } from "../page/announce.js";
import { Outbox } from "./outbox.js";
import { Cards } from "./cards.js";
import { CastBar } from "./cast-bar.js";
import { syncTime } from "../live/server-clock.js";
import { ReceiptStatus } from "./receipt-status.js";
import { drawFigures } from "../page/figures.js";
import { Invite } from "./invite.js";
import { InviteEntry } from "./invite-entry.js";
import { Connection } from "../live/connection.js";
import { SavedSelection } from "./saved-selection.js";
import { oncePerFrame } from "../page/motion.js";
import { mergeState, mergeTally } from "../live/merge.js";
import { selectionProblem, phaseOf, refusalKey, selectionRule } from "./phase.js";
import { Prover } from "../proof/prover.js";
import { showStatus } from "../page/connection-status.js";
import { isolated, text } from "../text/texts.js";
import { fetchVoter } from "./voter.js";
import { assuranceText, figuresNote, closedText, closesText, hiddenText, isFinal, isOver, isTicking, noBallotsText, opensText, outcomeText, countdownText, quarantineText, announcementText, stateText, totalsText } from "../text/sentences.js";
import { setText, setTextWithCountdown, setUserText } from "../page/set-text.js";
import "../page/printed.js";

const $ = (id) => document.getElementById(id);
const main = $("main");
const root = main.dataset.root;

let tally = JSON.parse($("poll").textContent);
const code = tally.poll;
let voter = null;
let notice = null; // { tone, words }: what came of the last attempt, until the voter acts again
let changing = false;
let justCast = false;
let peeking = false;
let gone = false;
let unreached = false;
let meeting = null;
let renewal = 0;

const draw = oncePerFrame(drawNow);
const announce = announcer($("announcer"));
const cards = new Cards($("choices"), $("card"), onSelect);
const prover = new Prover({
  challengeUrl: `${root}api/v1/polls/${code}/challenge/`,
  workerUrl: main.dataset.proofWorker,
  onChange: draw,
});
const invite = new Invite(code);
const entry = new InviteEntry({ code, onInvite: showInvite });
const marks = new SavedSelection(code);
const fate = new ReceiptStatus({ root, onChange: draw });
const several = ["login", "invite"].includes(tally.identity);
const outbox = new Outbox({ root, code, several, prover, onChange: draw, onSettled, onStranger: introduce });
const bar = new CastBar({ onSecond, onCopied: draw });
const live = new Connection({
  root,
  code,
  onTally: (next) => receive(mergeTally(tally, next)),
  onState: (message) => receive(mergeState(tally, message)),
  onStatus: (status) => showStatus($("status"), status),
  onGone: () => ((gone = true), draw()),
});

const mineNow = () => (outbox.mine?.round === tally.round ? outbox.mine : null);
const phaseNow = () => phaseOf({ tally, voter, outbox, mine: mineNow(), changing, gone });

function receive(next) {
  if (next === tally) return;
  if (next.round !== tally.round) newRound();
  // Seldom: while a draft waits here, its organiser lets others vote. Not all of a hall at once.
  if (voter && next.identity !== tally.identity) setTimeout(introduce, Math.random() * 3000);
  if (next.state !== tally.state) announce(stateText(next));
  tally = next;
  draw();
}

function newRound() {
  changing = justCast = peeking = false;
  if (outbox.mine || voter?.voted) notice = { tone: "warn", words: text("newRound") };
  cards.select([]);
  marks.drop();
}

function onSelect() {
  notice = null;
  keepMarks();
  draw();
}

/** Whose marks the ones on the cards are. */
const whose = () => ({ round: tally.round, tag: voter?.tag, replaces: mineNow()?.ballot_id });

function keepMarks() {
  marks.keep(whose(), cards.selections);
}

/** What was marked before the page was loaded again; another voter's, or another round's, is forgotten. */
function recallMarks() {
  if (outbox.pending || cards.selections.length) return;
  const votes = tally.state === "open" && voter?.eligible !== false && (!mineNow() || tally.revote);
  const kept = votes ? marks.recall(whose()) : [];
  if (!kept.length) return marks.drop();
  changing = Boolean(mineNow());
  cards.select(kept);
  notice = { tone: "", words: text("marksKept") };
}

function onSettled({ kind, code: reason, ballot }) {
  changing = false;
  justCast = kind === "accepted";
  notice = null;
  if (kind === "accepted" || kind === "elsewhere") marks.drop();
  if (kind === "accepted") {
    voter = { ...voter, voted: true };
    live.recheck();
  } else if (kind === "elsewhere") {
    notice = { tone: "good", words: text("elsewhere") };
    live.recheck();
  } else {
    notice = { tone: "bad", words: text(refusalKey(reason, tally.state, ballot.unknown), { code: reason }) };
    // Another window or an earlier visit was first: ask what stands. One voter's doing, so no storm.
    if (["already_voted", "ballot_id_reused"].includes(reason)) introduce();
    if (ballot.round === tally.round) cards.select(ballot.selections);
    keepMarks();
  }
}

$("ballot").addEventListener("submit", (event) => {
  event.preventDefault();
  const phase = phaseNow();
  if (phase === "retrying" && !outbox.busy) outbox.send();
  if (wantsInvite(phase)) entry.use();
  if (!["choosing", "changing"].includes(phase)) return;
  const selections = cards.selections;
  const wrong = selectionProblem(tally, selections.length);
  if (wrong) {
    notice = { tone: "warn", words: text(wrong.key, wrong) };
    return draw();
  }
  notice = null;
  outbox.cast({ round: tally.round, selections, replaces: phase === "changing" ? mineNow().ballot_id : undefined });
});

function onSecond() {
  notice = null;
  changing = phaseNow() === "voted";
  cards.select(mineNow()?.selections ?? []);
  marks.drop();
  drawNow();
  if (changing) cards.focus();
}

$("peek").addEventListener("click", () => {
  peeking = !peeking;
  draw();
});

/** Ask who we are; not twice at a time. */
function introduce() {
  meeting ??= meet().finally(() => (meeting = null));
  return meeting;
}

async function meet() {
  clearTimeout(renewal);
  const found = await fetchVoter({ root, code, invite, onTrouble: troubled });
  if (found) met(found);
  else gone = true;
  live.start();
  draw();
}

function met(found) {
  const before = outbox.pending;
  // A socket keeps the cookies it went up with; those that may see more now need a new one.
  const stale = voter === null ? unreached : found.tag !== null || found.tag !== voter.tag;
  voter = found;
  if (notice?.words === text("inviteShown")) notice = null;
  if (found.proof && (!found.voted || found.revote)) prover.begin(found.proof);
  if (stale && tally.results_visible === "after_vote") live.reopen();
  outbox.meet(found);
  if (before && outbox.key === null) notice = { tone: "warn", words: text("keptForYou") };
  if (found.voted) live.recheck();
  if (found.tag !== null) tellWindows(found.tag);
  // A pass lasts an hour.
  if (found.tag !== null && found.eligible) renewal = setTimeout(introduce, (45 + 10 * Math.random()) * 60000);
  recallMarks();
}

const WHO = `landslide.who.${code}`;

/** Another window of ours has met another voter, whose pass all of them send. */
addEventListener("storage", (event) => event.key === WHO && event.newValue !== voter?.tag && introduce());
addEventListener("hashchange", () => invite.take() && introduceAgain());

const introduceAgain = () => (meeting ?? Promise.resolve()).then(introduce);

const wantsInvite = (phase) => phase === "barred" && voter.needs === "invite";

async function showInvite(token) {
  notice = { tone: "", words: text("inviteShown") };
  draw();
  invite.offer(token);
  await introduceAgain();
  if (!wantsInvite(phaseNow()) && entry.hasFocus) requestAnimationFrame(() => cards.focus());
}

function tellWindows(tag) {
  try {
    localStorage.setItem(WHO, tag);
  } catch {
    // Without storage windows know nothing of each other.
  }
}

/** What may have changed the fate of a ballot that is in; empty while it is as good as counted. */
function occasion() {
  const decisions = tally.quarantined?.reasons ?? 0;
  if (isFinal(tally)) return `${tally.state} ${decisions}`;
  return decisions || !justCast ? `open ${decisions}` : "";
}

/** A ballot that this device knows nothing of was cast with the invite. */
const isInvited = () => voter?.identity === "invite" && mineNow()?.selections === null;

function troubled() {
  unreached = true;
  live.start(); // watching needs no cookie
  draw();
}

function drawNow() {
  const phase = phaseNow();
  const voting = ["preparing", "choosing", "changing"].includes(phase);
  main.dataset.phase = phase;
  main.dataset.state = tally.state;
  drawQuestion(phase);
  drawWho();
  cards.fit(tally);
  if (phase === "sending" || phase === "retrying") cards.select(outbox.pending.selections);
  else if (!voting) cards.select(mineNow()?.selections ?? []);
  cards.lock(!voting);
  const watching = tally.visible && (peeking || ["voted", "over"].includes(phase) || voter?.needs === "client");
  cards.draw(tally, { results: Boolean(watching), mine: voting ? [] : (mineNow()?.selections ?? []) });
  drawTotals(phase, watching);
  fate.follow(mineNow()?.receipt ?? null, occasion());
  entry.draw(wantsInvite(phase));
  const about = { voter, cut: invite.cut, fate: fate.status, invited: isInvited(), mine: mineNow(), unreached };
  bar.draw({ phase, tally, outbox, notice, justCast, ...about, ...counted() });
  drawFigures($("figures"), watching ? tally : { visible: false });
  if (watching) announce(announcementText(tally));
}

function counted() {
  const count = cards.selections.length;
  return { count, wrong: selectionProblem(tally, count) };
}

function drawQuestion(phase) {
  const waiting = phase === "waiting";
  setUserText($("question"), tally.question, gone ? text("gone") : waiting ? text("notOpen") : "");
  $("question").classList.toggle("long", !waiting && tally.question.length > 120);
  $("ballot").hidden = gone || (waiting && !notice && !outbox.pending);
  setTextWithCountdown($("rule"), gone ? "" : waiting ? waitingWords() : ruleWords(phase), countdownText(tally));
  setText(document.querySelector("title"), `${waiting || !tally.question ? code : isolated(tally.question)} · Landslide`);
}

/** Who votes here, and what a voter is: named as far as it goes. */
function drawWho() {
  const known = voter?.identity === tally.identity ? voter : null;
  const account = known?.account ?? null;
  const invited = known?.identity === "invite" && known.eligible;
  const signedIn = account !== null && text("signedInAs", { account: isolated(account) });
  const words = signedIn || (invited ? text("inviteAccepted") : assuranceText(tally));
  setText($("who-words"), gone ? "" : words);
  $("sign-out").hidden = gone || account === null;
  $("sign-in-early").hidden = gone || known?.needs !== "login" || tally.state === "open";
}

function waitingWords() {
  return tally.opens_at ? `${opensText(tally)} ${text("opensByItself")}` : opensText(tally);
}

function ruleWords(phase) {
  if (isOver(tally)) return closedText(tally);
  if (["voted", "barred"].includes(phase)) return closesText(tally);
  const how = selectionRule({ min: tally.min_selections, max: tally.max_selections, choices: tally.choices.length });
  return [text(how.key, how), closesText(tally)].filter(Boolean).join(" · ");
}

function drawTotals(phase, watching) {
  const peek = $("peek");
  const offered = ["choosing", "preparing", "barred"].includes(phase) && Boolean(tally.visible) && voter?.needs !== "client";
  peek.hidden = !offered && document.activeElement !== peek;
  setText(peek, text(peeking ? "hideResults" : "showResults"));
  peek.setAttribute("aria-expanded", String(peeking));
  setText($("totals"), totalsWords(phase, watching));
}

function totalsWords(phase, watching) {
  if (phase === "waiting" || phase === "gone") return "";
  if (tally.visible === false) {
    const entitled = tally.results_visible === "after_vote" && mineNow() && tally.state === "open";
    return entitled ? text("onTheirWay") : hiddenText(tally);
  }
  if (!watching) return "";
  const counted = tally.ballots ? [outcomeText(tally), totalsText(tally)] : [noBallotsText(tally)];
  return [...counted, figuresNote(tally), quarantineText(tally)].filter(Boolean).join(" · ");
}

setInterval(() => {
  if (isTicking(tally)) syncTime(`${root}api/v1/polls/${code}/tally/`);
  if (isTicking(tally) || outbox.waiting) draw();
}, 1000);
if (!several) recallMarks();
drawNow();
introduce();
