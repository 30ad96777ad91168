/** The marks that a voter has made but not cast, stored for this window so that they survive a reload.
 *
 *  An owner is { round, tag: the voter's, replaces: the ballot_id that the selections would replace }. */

import { readStored, store } from "../page/storage.js";

const ownerKey = ({ round, tag, replaces }) => JSON.stringify([round, tag ?? null, replaces ?? null]);

export class SavedSelection {
  constructor(code) {
    this.key = `landslide.marks.${code}`;
  }

  save(owner, selections) {
    store(this.key, selections.length ? { owner: ownerKey(owner), selections } : null, "sessionStorage");
  }

  /** Return the marks of this owner. */
  restore(owner) {
    const saved = readStored(this.key, "sessionStorage");
    return saved?.owner === ownerKey(owner) ? saved.selections : [];
  }

  clear() {
    store(this.key, null, "sessionStorage");
  }
}
