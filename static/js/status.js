/** The pill that says how the connection is. */

import { text } from "./texts.js";

export function showStatus(pill, status) {
  if (pill.dataset.status === status) return;
  pill.dataset.status = status;
  pill.textContent = text(status);
}
