/** The voter's page: choose, cast, watch.
 *
 *  Everything that happens is dispatched as an event (state.js), and render.js draws the new state. This file has the
 *  side effects: requests, storage, announcements. */

import { Connection } from "../live/connection.js";
import { syncTime } from "../live/server-clock.js";
import { methodOf } from "../methods/registry.js";
import { announcer } from "../page/announce.js";
import { showStatus } from "../page/connection-status.js";
import { oncePerFrame } from "../page/motion.js";
import { readStored, store } from "../page/storage.js";
import { Prover } from "../proof/prover.js";
import { isTicking, stateText } from "../text/sentences.js";
import { BallotForm } from "./ballot-form.js";
import { CastBar } from "./cast-bar.js";
import { Invite } from "./invite.js";
import { InviteEntry } from "./invite-entry.js";
import { Outbox } from "./outbox.js";
import { ReceiptStatus } from "./receipt-status.js";
import { render } from "./render.js";
import { SavedSelection } from "./saved-selection.js";
import { initialState, isHeldBack, mayRestore, mineOf, ownerOf, phaseOf, problemOf, receiptOccasion, reduce, wantsInvite } from "./state.js";
import { fetchVoter } from "./voter.js";
import "../page/printed.js";
import "../page/theme.js";

const $ = (id) => document.getElementById(id);
const { root, proofWorker } = $("main").dataset;
const firstTally = JSON.parse($("poll").textContent);
const code = firstTally.poll;
const VOTER_KEY = `landslide.who.${code}`;
const announce = announcer($("announcer"));
const outboxChanged = () => dispatch("outboxChanged", { outbox: outbox.state });

const prover = new Prover({ challengeUrl: `${root}api/v1/polls/${code}/challenge/`, workerUrl: proofWorker, onChange: outboxChanged });
// A device may have several voters. Each has an outbox, which opens when the voter is known.
const several = ["login", "invite"].includes(firstTally.identity);
const outbox = new Outbox({ root, code, several, prover, onChange: outboxChanged, onSettled, onVoterRefused: identify });
const invite = new Invite(code);
const saved = new SavedSelection(code);
const receiptStatus = new ReceiptStatus({ root, onStatus: (receipt, status) => dispatch("receiptChecked", { receipt, status }) });
const form = new BallotForm($("choices"), firstTally, (selections) => dispatch("selected", { selections }));
const bar = new CastBar({ onSecond });
const entry = new InviteEntry({ code, onInvite: showInvite });
const live = new Connection({
  root,
  code,
  onTally: (tally) => dispatch("tallyReceived", { tally }),
  onState: (message) => dispatch("stateReceived", { message }),
  onStatus: (status) => showStatus($("status"), status),
  onGone: () => dispatch("pollGone"),
});

let state = initialState(firstTally, outbox.state, form.selections);
let identification = null; // the voter request in progress
let renewal = 0;

const renderNow = () => render(state, { form, bar, entry, announce });
const draw = oncePerFrame(renderNow);

function dispatch(type, values = {}) {
  const before = state;
  state = reduce(before, { type, ...values });
  const { tally, selections } = state;
  if (tally.state !== before.tally.state) announce(stateText(tally));
  // The organiser has changed a draft's identity policy. The delay spreads a hall's requests.
  if (state.voter && tally.identity !== before.tally.identity) setTimeout(identify, Math.random() * 3000);
  if (selections !== before.selections) saved.save(ownerOf(state), state.edited ? selections : []);
  receiptStatus.follow(mineOf(state)?.receipt ?? null, receiptOccasion(state));
  draw();
}

function onSettled(verdict) {
  dispatch("ballotSettled", { ...verdict, outbox: outbox.state });
  if (verdict.kind !== "refused") live.recheck();
  // Another window or an earlier visit cast a ballot first: ask which one counts. Only this voter asks, so no delay.
  else if (["already_voted", "ballot_id_reused"].includes(verdict.code)) identify();
}

$("ballot").addEventListener("submit", (event) => {
  event.preventDefault();
  const phase = phaseOf(state);
  if (phase === "retrying" && !isHeldBack(state)) outbox.send();
  if (wantsInvite(state)) entry.use();
  if (!["choosing", "changing"].includes(phase)) return;
  dispatch("castPressed");
  if (problemOf(state)) return;
  const replaces = phase === "changing" ? mineOf(state).ballot_id : undefined;
  const { tally, selections } = state;
  outbox.cast({ round: tally.round, selections, content: methodOf(tally).content(selections), replaces });
});

function onSecond() {
  dispatch("secondPressed");
  renderNow();
  if (state.changing) form.focus();
}

$("peek").addEventListener("click", () => dispatch("peekPressed"));

/** Ask the server who the voter is, one request at a time. */
function identify() {
  identification ??= requestVoter().finally(() => (identification = null));
  return identification;
}

const identifyAgain = () => (identification ?? Promise.resolve()).then(identify);

async function requestVoter() {
  clearTimeout(renewal);
  const voter = await fetchVoter({ root, code, invite, onTrouble });
  if (voter) onVoter(voter);
  else dispatch("pollGone");
  live.start();
}

function onTrouble() {
  dispatch("voterUnreached");
  live.start(); // watching needs no cookie
}

function onVoter(voter) {
  const { voter: before, unreached, outbox: { pending } } = state;
  // A socket keeps the cookies that it was opened with, so a voter who may now see more needs a new socket.
  const stale = before === null ? unreached : voter.tag !== null || voter.tag !== before.tag;
  dispatch("voterFetched", { voter, cutInvite: invite.cut });
  if (voter.proof && (!voter.voted || voter.revote)) prover.begin(voter.proof);
  if (stale && state.tally.results_visible === "after_vote") live.reopen();
  outbox.setVoter(voter);
  if (pending && !outbox.isOpen) dispatch("ballotKept");
  if (voter.voted) live.recheck();
  if (voter.tag !== null) store(VOTER_KEY, voter.tag);
  // The voter's pass is valid for an hour.
  if (voter.tag !== null && voter.eligible) renewal = setTimeout(identify, (45 + 10 * Math.random()) * 60000);
  restoreSelection();
}

/** Restore the marks from before a reload. Marks of another voter or round are deleted. */
function restoreSelection() {
  if (state.outbox.pending || state.selections.length) return;
  const selections = mayRestore(state) ? saved.restore(ownerOf(state)) : [];
  if (selections.length) dispatch("selectionRestored", { selections });
  else saved.clear();
}

async function showInvite(token) {
  dispatch("inviteShown");
  invite.offer(token);
  await identifyAgain();
  if (!wantsInvite(state) && entry.hasFocus) requestAnimationFrame(() => form.focus());
}

addEventListener("hashchange", () => invite.takeFromAddress() && identifyAgain());

// All windows of a browser share one pass: if another window changes the voter, identify the voter again.
addEventListener("storage", ({ key }) => key === VOTER_KEY && readStored(key) !== state.voter?.tag && identify());

setInterval(() => {
  const ticking = isTicking(state.tally);
  if (ticking) syncTime(`${root}api/v1/polls/${code}/tally/`);
  if (ticking || phaseOf(state) === "retrying") draw();
}, 1000);
if (!several) restoreSelection();
renderNow();
identify();
