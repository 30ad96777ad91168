/** Keeps the screen from going dark while it is looked at, where the browser can. */

export function keepAwake() {
  if (!navigator.wakeLock) return;
  let lock = null;
  let asking = false;

  /** A hidden page loses its lock, and a machine that is short of power refuses one. */
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
