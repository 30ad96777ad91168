/** Keeps the presenter's screen on, in browsers that can. */

export function keepAwake() {
  if (!navigator.wakeLock) return;
  let lock = null;
  let asking = false;

  /** Take the lock again: a hidden page loses it. A device that is low on power refuses it. */
  async function ask() {
    if (asking || document.hidden || (lock && !lock.released)) return;
    asking = true;
    lock = await navigator.wakeLock.request("screen").catch(() => null);
    asking = false;
  }

  document.addEventListener("visibilitychange", ask);
  document.addEventListener("fullscreenchange", ask);
  ask();
}
