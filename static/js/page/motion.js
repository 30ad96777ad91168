/** Numbers that move to their new value. A burst retargets what is under way; nothing queues. */

import { setText } from "./set-text.js";

const DURATION = 260;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const running = new WeakMap();

const easeOut = (t) => 1 - (1 - t) ** 3;

/** Let `node` show `format(value)`, coming from what it shows now. `unit`: the smallest step one can see. */
export function animateNumber(node, value, format, unit = 1) {
  const state = running.get(node) ?? { shown: null, frame: 0, target: null, format };
  running.set(node, state);
  state.format = format;
  // The same number may be written in another way now.
  if (state.target === value) return state.frame ? undefined : show(node, state, value);
  const from = state.shown;
  state.target = value;
  cancelAnimationFrame(state.frame);
  state.frame = 0;
  // A single step has nothing to pass through: it is there at once.
  const near = from !== null && Math.abs(value - from) <= unit;
  if (from === null || near || still.matches || document.hidden) return show(node, state, value);
  const start = performance.now();
  const step = (now) => {
    const t = Math.min(1, Math.max(0, (now - start) / DURATION));
    show(node, state, t === 1 ? value : from + (value - from) * easeOut(t));
    state.frame = t < 1 ? requestAnimationFrame(step) : 0;
  };
  state.frame = requestAnimationFrame(step);
}

/** Let `node` show the share of `votes` among `ballots`, as `words` (texts.js) says it. */
export function animateShare(node, votes, ballots, words) {
  if (!ballots) return clearNumber(node);
  const share = votes / ballots;
  animateNumber(node, share, (value) => (value === share ? words.of(votes) : words.near(value)), 0.01);
}

/** Empty the node; its next number appears without coming from anywhere. */
export function clearNumber(node) {
  const state = running.get(node);
  if (state) cancelAnimationFrame(state.frame);
  running.delete(node);
  setText(node, "");
}

function show(node, state, value) {
  state.shown = value;
  setText(node, state.format(value));
}

/** Draw at most once a frame, however many reasons there are; a hidden page is drawn when it is looked at. */
export function oncePerFrame(draw) {
  let asked = false;
  const paint = () => {
    asked = false;
    draw();
  };
  return () => {
    if (asked) return;
    asked = true;
    if (document.hidden) setTimeout(paint, 250);
    else requestAnimationFrame(paint);
  };
}
