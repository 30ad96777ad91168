/** What the results page and the presenter's screen have in common: a tally that is followed live. */

import { announcer } from "../page/announce.js";
import { syncTime, now } from "../live/server-clock.js";
import { Connection } from "../live/connection.js";
import { oncePerFrame } from "../page/motion.js";
import { mergeState, mergeTally } from "../live/merge.js";
import { showStatus } from "../page/connection-status.js";
import { isTicking, announcementText, stateText } from "../text/sentences.js";

const $ = (id) => document.getElementById(id);

/** Follows the page's poll; `draw({ tally, viewers, status, gone, since })` at most once a frame. */
export function followPoll(draw, { counted = true } = {}) {
  const { root } = $("main").dataset;
  const view = { tally: JSON.parse($("poll").textContent), viewers: null, status: "connecting", gone: false, since: null };
  const announce = announcer($("announcer"));
  const paint = oncePerFrame(() => draw(view));
  const code = view.tally.poll;

  function receive(next) {
    if (next === view.tally) return;
    if (next.state !== view.tally.state) announce(stateText(next));
    view.tally = next;
    announce(announcementText(next));
    paint();
  }

  const live = new Connection({
    root,
    code,
    counted,
    onTally: (tally) => receive(mergeTally(view.tally, tally)),
    onState: (message) => receive(mergeState(view.tally, message)),
    onViewers: (count) => ((view.viewers = count), paint()),
    onStatus: (status) => {
      if (status === view.status) return;
      if (view.status === "live") view.since = now();
      view.status = status;
      showStatus($("status"), status);
      paint();
    },
    onGone: () => ((view.gone = true), paint()),
  });

  // A countdown needs the server's time.
  const clockUrl = `${root}api/v1/polls/${code}/tally/`;
  if (isTicking(view.tally)) syncTime(clockUrl, 0).then(paint);
  setInterval(() => isTicking(view.tally) && (syncTime(clockUrl), paint()), 1000);
  paint();
  live.start();
  return paint;
}
