/** Live updates of the results page and the presenter's screen. */

import { Connection } from "../live/connection.js";
import { mergeState, mergeTally } from "../live/merge.js";
import { now, syncTime } from "../live/server-clock.js";
import { announcementText } from "../methods/sentences.js";
import { announcer } from "../page/announce.js";
import { showStatus } from "../page/connection-status.js";
import { oncePerFrame } from "../page/motion.js";
import { isTicking, stateText } from "../text/sentences.js";

const $ = (id) => document.getElementById(id);

/** Follow the page's poll: call draw({ tally, viewers, status, gone, since }) at most once per frame. `since`: when the
 *  connection was last live. Return a function that schedules a draw. */
export function followPoll(draw, { counted = true } = {}) {
  const { root } = $("main").dataset;
  const view = { tally: JSON.parse($("poll").textContent), viewers: null, status: "connecting", gone: false, since: null };
  const code = view.tally.poll;
  const announce = announcer($("announcer"));
  const redraw = oncePerFrame(() => draw(view));

  function change(values) {
    Object.assign(view, values);
    redraw();
  }

  function show(tally) {
    if (tally === view.tally) return;
    if (tally.state !== view.tally.state) announce(stateText(tally));
    announce(announcementText(tally));
    change({ tally });
  }

  const live = new Connection({
    root,
    code,
    counted,
    onTally: (tally) => show(mergeTally(view.tally, tally)),
    onState: (message) => show(mergeState(view.tally, message)),
    onViewers: (viewers) => change({ viewers }),
    onStatus(status) {
      if (status === view.status) return;
      showStatus($("status"), status);
      change({ status, since: view.status === "live" ? now() : view.since });
    },
    onGone: () => change({ gone: true }),
  });

  // A countdown needs the server's time.
  const clockUrl = `${root}api/v1/polls/${code}/tally/`;
  if (isTicking(view.tally)) syncTime(clockUrl, 0).then(redraw);
  setInterval(() => isTicking(view.tally) && (syncTime(clockUrl), redraw()), 1000);
  redraw();
  live.start();
  return redraw;
}
