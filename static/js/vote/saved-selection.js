/** What a voter has marked and not cast yet, stored for this window alone, so that a reload doesn't lose it.
 *
 *  An owner is { round, tag of the voter, replaces: the ballot_id that the selections would replace }. */

import { readStored, store } from "../page/storage.js";

const ownerKey = ({ round, tag, replaces }) => JSON.stringify([round, tag ?? null, replaces ?? null]);

export class SavedSelection {
  constructor(code) {
    this.key = `landslide.marks.${code}`;
  }

  save(owner, selections) {
    store(this.key, selections.length ? { owner: ownerKey(owner), selections } : null, "sessionStorage");
  }

  /** What this owner had marked; empty if nothing. */
  restore(owner) {
    const saved = readStored(this.key, "sessionStorage");
    return saved?.owner === ownerKey(owner) ? saved.selections : [];
  }

  clear() {
    store(this.key, null, "sessionStorage");
  }
}
