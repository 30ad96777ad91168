/** The invite that the page was opened with.
 *
 *  It is in the address's fragment, which browsers don't send to the server. It is removed from the address bar at once,
 *  so that nobody can copy it from there, and stored for this poll, so that it survives a reload. */

import { readStored, store } from "../page/storage.js";

// Mail programs add characters after a link, and some encode "=".
const FRAGMENT = /#i(?:=|%3d)([\w-]*)/i;
const LENGTH = 32;

/** Read a pasted invite link or code: { token }, or { problem, … } with a text's key. Pure. */
export function readInvite(pasted, code) {
  const words = cleaned(pasted);
  if (!words) return { problem: "inviteNone" };
  const poll = /\/p\/([\w-]+)/i.exec(words)?.[1].replaceAll("-", "").toUpperCase();
  if (poll && poll !== code) return { problem: "inviteElsewhere", poll };
  const token = FRAGMENT.exec(words)?.[1] ?? words.replace(/^#?i=/i, "");
  if (!token || (token === words && words.includes("/"))) return { problem: "inviteLost" };
  if (!/^[\w-]+$/.test(token)) return { problem: "inviteNotOne" };
  return token.length === LENGTH ? { token } : { problem: "inviteLength", count: token.length };
}

/** Undo the changes that mail programs make to a link: line breaks, quotes, wide letters, redirects. */
function cleaned(pasted) {
  const words = pasted.normalize("NFKC").replace(/[\s\u200b-\u200f\u2060\ufeff<>"'“”]/g, "");
  const unwrapped = (link) => link.replace(/%([2-7][0-9a-f])/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return unwrapped(unwrapped(words));
}

export class Invite {
  #offered = null; // the invite from the address or the field, until the server has checked it
  #kept = null; // the last invite that the server accepted
  /** The length of the last refused invite if it is not LENGTH, else 0. */
  cut = 0;

  constructor(code) {
    this.key = `landslide.invite.${code}`;
    const { offered = null, kept = null } = readStored(this.key) ?? {};
    this.#offered = offered;
    this.#kept = kept;
    this.takeFromAddress();
  }

  /** The invite to send; null if there is none. */
  get token() {
    return this.#offered ?? this.#kept;
  }

  /** Move an invite from the address bar into storage; return whether there was one. */
  takeFromAddress() {
    const found = location.hash.startsWith("#i") && FRAGMENT.exec(location.hash);
    if (!found) return false;
    this.offer(found[1]);
    history.replaceState(history.state, "", location.pathname + location.search);
    return true;
  }

  /** Send this invite next. */
  offer(token) {
    this.#offered = token;
    this.#save();
  }

  /** Process the server's verdict on the sent invite; return true if an older invite remains to be sent. */
  settle(state) {
    if (state === null || this.token === null) return false;
    this.cut = state === "invalid" && this.token.length !== LENGTH ? this.token.length : 0;
    const another = state !== "accepted" && this.#offered !== null && this.#kept !== null && this.#offered !== this.#kept;
    if (state === "accepted") this.#kept = this.token;
    else if (state === "invalid" && this.#offered === null) this.#kept = null;
    // A revoked invite is kept: with it the server still says whether a ballot was cast.
    else if (state === "revoked" && !another) this.#kept = this.token;
    this.#offered = null;
    this.#save();
    return another;
  }

  #save() {
    store(this.key, this.token === null ? null : { offered: this.#offered, kept: this.#kept });
  }
}
