/** The invite that this page was opened with.
 *
 *  It comes in the address's fragment, which no browser sends to anybody, and leaves the address bar at once:
 *  whoever copies the address or looks over a shoulder must not get a vote with it. It is kept for this poll,
 *  so that a reload knows it. */

// What mail programs add behind a link is no part of it, and some write "=" in another way.
const FRAGMENT = /#i(?:=|%3d)([\w-]*)/i;
const LENGTH = 32;

/** What somebody pasted as their invite, a link or its code alone: { token }, or what is wrong: { problem, … }. Pure. */
export function readInvite(pasted, code) {
  const words = plain(pasted);
  if (!words) return { problem: "inviteNone" };
  const poll = /\/p\/([\w-]+)/i.exec(words)?.[1].replaceAll("-", "").toUpperCase();
  if (poll && poll !== code) return { problem: "inviteElsewhere", poll };
  const token = FRAGMENT.exec(words)?.[1] ?? words.replace(/^#?i=/i, "");
  if (!token || (token === words && words.includes("/"))) return { problem: "inviteLost" };
  if (!/^[\w-]+$/.test(token)) return { problem: "inviteNotOne" };
  return token.length === LENGTH ? { token } : { problem: "inviteLength", count: token.length };
}

/** Without what mail programs do to a link: line breaks, quotes, wide letters, and a wrapping in other links. */
function plain(pasted) {
  const words = pasted.normalize("NFKC").replace(/[\s\u200b-\u200f\u2060\ufeff<>"'“”]/g, "");
  const unwrapped = (link) => link.replace(/%([2-7][0-9a-f])/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return unwrapped(unwrapped(words));
}

export class Invite {
  #offered = null; // from the address, until the server has looked at it
  #kept = null; // the last one that it accepted
  /** How many characters the one had that was refused last, where those of an invite are others; 0 otherwise. */
  cut = 0;

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
    const found = location.hash.startsWith("#i") && FRAGMENT.exec(location.hash);
    if (!found) return false;
    this.offer(found[1]);
    history.replaceState(history.state, "", location.pathname + location.search);
    return true;
  }

  /** Show this one to the server next. */
  offer(token) {
    this.#offered = token;
    this.#save();
  }

  /** What the server makes of the one it was shown; true if there is an older one left to show. */
  judged(state) {
    if (state === null || this.token === null) return false;
    this.cut = state === "invalid" && this.token.length !== LENGTH ? this.token.length : 0;
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
