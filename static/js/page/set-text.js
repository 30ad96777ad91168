/** Texts into the page, only where our words have changed.
 *
 *  A browser that translates replaces what it finds. Compared with what stands there, every text would look new at
 *  each draw, and flip back to the page's own language. */

const written = new WeakMap();

export function setText(node, words) {
  if (written.get(node) === words) return;
  written.set(node, words);
  if (node.textContent !== words) node.textContent = words;
}

/** The same; a node without words is hidden. */
export function setTextOrHide(node, words = "") {
  node.hidden = !words;
  setText(node, words);
}

/** Words of which a part moves by itself: a countdown, which nobody has to translate. */
export function setTextWithCountdown(node, words, moving) {
  node.hidden = false;
  const at = moving ? words.lastIndexOf(moving) : -1;
  if (at < 0) return setText(node, words);
  const around = [words.slice(0, at), words.slice(at + moving.length)];
  const key = around.join("\0");
  // Some translators replace all that is in a node.
  if (written.get(node) !== key || !node.querySelector("[translate=no]")) {
    const part = document.createElement("span");
    part.translate = false;
    node.replaceChildren(around[0], part, around[1]);
    written.set(node, key);
  }
  setText(node.querySelector("[translate=no]"), moving);
}

/** A text that people wrote, in a language that nobody told us; or, in its place, words of ours. */
export function setUserText(node, theirs, ours) {
  node.lang = ours ? document.documentElement.lang : "";
  setText(node, ours || theirs);
}
