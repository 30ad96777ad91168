/** Animated numbers. A new value changes the target of a running animation; animations don't queue. */

import { formatNumber } from "../text/texts.js";
import { setText } from "./set-text.js";

const DURATION = 260;
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
const states = new WeakMap();

const easeOut = (t) => 1 - (1 - t) ** 3;
const formatWhole = (value) => formatNumber(Math.round(value));

/** Animate `node` from its current number to format(value). A step of at most `unit` is shown at once. */
export function animateNumber(node, value, format = formatWhole, unit = 1) {
  const state = states.get(node) ?? { shown: null, frame: 0, target: null, format };
  states.set(node, state);
  state.format = format;
  // The same number may need more decimals now.
  if (state.target === value) return state.frame ? undefined : show(node, state, value);
  const from = state.shown;
  state.target = value;
  cancelAnimationFrame(state.frame);
  state.frame = 0;
  const isOneStep = from !== null && Math.abs(value - from) <= unit;
  if (from === null || isOneStep || reducedMotion.matches || document.hidden) return show(node, state, value);
  const start = performance.now();
  const step = (now) => {
    const t = Math.min(1, Math.max(0, (now - start) / DURATION));
    show(node, state, t === 1 ? value : from + (value - from) * easeOut(t));
    state.frame = t < 1 ? requestAnimationFrame(step) : 0;
  };
  state.frame = requestAnimationFrame(step);
}

/** Empty the node. Its next number appears without animation. */
export function clearNumber(node) {
  const state = states.get(node);
  if (state) cancelAnimationFrame(state.frame);
  states.delete(node);
  setText(node, "");
}

function show(node, state, value) {
  state.shown = value;
  setText(node, state.format(value));
}

/** Return a function that calls draw() at most once per frame, or every 250 ms on a hidden page. */
export function oncePerFrame(draw) {
  let scheduled = false;
  const run = () => {
    scheduled = false;
    draw();
  };
  return () => {
    if (scheduled) return;
    scheduled = true;
    if (document.hidden) setTimeout(run, 250);
    else requestAnimationFrame(run);
  };
}
