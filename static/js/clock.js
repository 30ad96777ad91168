/** The server's time, learnt from a response's Date: a phone's own clock may be minutes off. */

let offset = 0;
let known = false;

/** `sent` and `received` by the local clock; the header has whole seconds, so it is half a second late. */
export function learn(response, sent, received = Date.now()) {
  const server = Date.parse(response.headers.get("Date") || "");
  if (Number.isNaN(server)) return;
  const guess = server + 500 - (sent + received) / 2;
  // Below its own precision the header only adds noise to a good clock.
  offset = Math.abs(guess) < 1500 ? 0 : guess;
  known = true;
}

export const isKnown = () => known;

export const now = () => Date.now() + offset;
