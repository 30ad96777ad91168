/** The pill that says how the connection is. What it shows at once is said to a screen reader at most every ten
 *  seconds: a flapping network would talk over everything else. */

import { announcer } from "./announce.js";
import { text } from "../text/texts.js";
import { setText } from "./set-text.js";

let say = null;

export function showStatus(pill, status) {
  const before = pill.dataset.status;
  if (before === status) return;
  pill.dataset.status = status;
  setText(pill, text(status));
  if (before === "connecting" && status === "live") return; // as it should be
  say ??= announcer(document.getElementById("status-said"));
  say(text(status));
}
