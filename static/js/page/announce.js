/** Announces changes to screen readers: only the newest text, and at most every ten seconds. */

import { setText } from "./set-text.js";

const PAUSE = 10000;

export function announcer(node) {
  let next = "";
  let last = -Infinity;
  let timer = 0;

  function announce() {
    timer = 0;
    last = performance.now();
    setText(node, next);
  }

  return (words) => {
    if (!words || words === next) return;
    next = words;
    if (!timer) timer = setTimeout(announce, Math.max(0, last + PAUSE - performance.now()));
  };
}
