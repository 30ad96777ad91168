/** What a voter has marked and not cast yet, stored for this window alone, so that a reload doesn't lose it. */

export class SavedSelection {
  constructor(code) {
    this.key = `landslide.marks.${code}`;
  }

  /** `owner`: { round, tag of the voter, replaces: the ballot_id that the selections would replace }. */
  save(owner, selections) {
    if (!selections.length) return this.clear();
    try {
      sessionStorage.setItem(this.key, JSON.stringify({ owner: keyOf(owner), selections }));
    } catch {
      // Storage is blocked or full: the selections last as long as the page.
    }
  }

  /** What this owner had marked; empty if nothing. */
  restore(owner) {
    try {
      const saved = JSON.parse(sessionStorage.getItem(this.key));
      return saved?.owner === keyOf(owner) ? saved.selections : [];
    } catch {
      return [];
    }
  }

  clear() {
    try {
      sessionStorage.removeItem(this.key);
    } catch {
      // As above.
    }
  }
}

const keyOf = ({ round, tag, replaces }) => JSON.stringify([round, tag ?? null, replaces ?? null]);
