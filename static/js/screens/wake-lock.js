/** Keeps the presenter's screen on, where the browser supports it. */

export function keepAwake() {
  if (!navigator.wakeLock) return;
  let lock = null;
  let requesting = false;

  /** Request the lock again: a hidden page loses it. A device that is low on power refuses it. */
  async function request() {
    if (requesting || document.hidden || (lock && !lock.released)) return;
    requesting = true;
    lock = await navigator.wakeLock.request("screen").catch(() => null);
    requesting = false;
  }

  document.addEventListener("visibilitychange", request);
  document.addEventListener("fullscreenchange", request);
  request();
}
