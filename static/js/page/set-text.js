/** Writes texts into the page, only if they have changed.
 *
 *  It compares with the text that it wrote last, not with the page: otherwise each draw would undo the browser's
 *  translation. */

const written = new WeakMap();

export function setText(node, words) {
  if (written.get(node) === words) return;
  written.set(node, words);
  if (node.textContent !== words) node.textContent = words;
}

/** Set the text, and hide the node if it is empty. */
export function setTextOrHide(node, words = "") {
  node.hidden = !words;
  setText(node, words);
}

/** Set a text with a countdown. The countdown has a node of its own, excluded from translation: it changes every second. */
export function setTextWithCountdown(node, words, countdown) {
  node.hidden = false;
  const at = countdown ? words.lastIndexOf(countdown) : -1;
  if (at < 0) return setText(node, words);
  const around = [words.slice(0, at), words.slice(at + countdown.length)];
  const key = around.join("\0");
  // Some translators replace all child nodes.
  if (written.get(node) !== key || !node.querySelector("[translate=no]")) {
    const part = document.createElement("span");
    part.translate = false;
    node.replaceChildren(around[0], part, around[1]);
    written.set(node, key);
  }
  setText(node.querySelector("[translate=no]"), countdown);
}

/** Show `ours`, in the page's language, or else an organiser's text, whose language is unknown. */
export function setUserText(node, theirs, ours) {
  node.lang = ours ? document.documentElement.lang : "";
  setText(node, ours || theirs);
}
