/** Puts texts into the page, only where they have changed since the last time.
 *
 *  It compares with its own last text, not with the page: a browser that translates replaces what it finds there, and
 *  each draw would put the page's own language back. */

const written = new WeakMap();

export function setText(node, words) {
  if (written.get(node) === words) return;
  written.set(node, words);
  if (node.textContent !== words) node.textContent = words;
}

/** Set the text; hide the node if there is none. */
export function setTextOrHide(node, words = "") {
  node.hidden = !words;
  setText(node, words);
}

/** Set a text with a countdown in it, in a node of its own: it changes every second, and nobody has to translate it. */
export function setTextWithCountdown(node, words, countdown) {
  node.hidden = false;
  const at = countdown ? words.lastIndexOf(countdown) : -1;
  if (at < 0) return setText(node, words);
  const around = [words.slice(0, at), words.slice(at + countdown.length)];
  const key = around.join("\0");
  // Some translators replace everything in a node.
  if (written.get(node) !== key || !node.querySelector("[translate=no]")) {
    const part = document.createElement("span");
    part.translate = false;
    node.replaceChildren(around[0], part, around[1]);
    written.set(node, key);
  }
  setText(node.querySelector("[translate=no]"), countdown);
}

/** Set a text that an organiser wrote, in a language that nobody told us, or `ours` in its place. */
export function setUserText(node, theirs, ours) {
  node.lang = ours ? document.documentElement.lang : "";
  setText(node, ours || theirs);
}
