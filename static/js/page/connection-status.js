/** The pill that shows the connection's status. Screen readers are told at most every ten seconds: the
 *  announcements of an unstable network would hide all others. */

import { text } from "../text/texts.js";
import { announcer } from "./announce.js";
import { setText } from "./set-text.js";

let announce = null;

export function showStatus(pill, status) {
  const before = pill.dataset.status;
  if (before === status) return;
  pill.dataset.status = status;
  setText(pill, text(status));
  if (before === "connecting" && status === "live") return;
  announce ??= announcer(document.getElementById("status-said"));
  announce(text(status));
}
