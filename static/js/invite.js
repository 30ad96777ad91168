/** The invite that this page was opened with.
 *
 *  It comes in the address's fragment, which no browser sends to anybody, and leaves the address bar at once:
 *  whoever copies the address or looks over a shoulder must not get a vote with it. It is kept for this poll,
 *  so that a reload knows it. */

const FRAGMENT = /^#i=([\w-]*)/; // what mail programs add behind a link is no part of it

export class Invite {
  #offered = null; // from the address, until the server has looked at it
  #kept = null; // the last one that it accepted

  constructor(code) {
    this.key = `landslide.invite.${code}`;
    this.#load();
    this.take();
  }

  /** What to show the server; null where there is none. */
  get token() {
    return this.#offered ?? this.#kept;
  }

  /** Take an invite out of the address bar; true if there was one. */
  take() {
    const found = FRAGMENT.exec(location.hash);
    if (!found) return false;
    this.#offered = found[1];
    this.#save();
    history.replaceState(history.state, "", location.pathname + location.search);
    return true;
  }

  /** What the server makes of the one it was shown; true if there is an older one left to show. */
  judged(state) {
    if (state === null || this.token === null) return false;
    const another = state !== "accepted" && this.#offered !== null && this.#kept !== null && this.#offered !== this.#kept;
    if (state === "accepted") this.#kept = this.token;
    else if (state === "invalid" && this.#offered === null) this.#kept = null;
    // One that was revoked stays: it still tells whether a ballot was cast with it.
    else if (state === "revoked" && !another) this.#kept = this.token;
    this.#offered = null;
    this.#save();
    return another;
  }

  #load() {
    try {
      const { offered = null, kept = null } = JSON.parse(localStorage.getItem(this.key)) || {};
      this.#offered = offered;
      this.#kept = kept;
    } catch {
      // Storage is blocked or broken: the invite lasts as long as the page.
    }
  }

  #save() {
    try {
      if (this.token === null) localStorage.removeItem(this.key);
      else localStorage.setItem(this.key, JSON.stringify({ offered: this.#offered, kept: this.#kept }));
    } catch {
      // As above.
    }
  }
}
