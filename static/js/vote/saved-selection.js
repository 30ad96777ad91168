/** What a voter has marked and not cast yet. It is kept for this window alone, so that a reload doesn't lose it. */

export class SavedSelection {
  constructor(code) {
    this.key = `landslide.marks.${code}`;
  }

  /** `whose`: { round, tag of the voter, ballot_id that the marks would replace }. */
  keep(whose, selections) {
    if (!selections.length) return this.drop();
    try {
      sessionStorage.setItem(this.key, JSON.stringify({ whose: named(whose), selections }));
    } catch {
      // Storage is blocked or full: the marks last as long as the page.
    }
  }

  /** What was marked in the same place; empty if nothing was. */
  recall(whose) {
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.key));
      return kept?.whose === named(whose) ? kept.selections : [];
    } catch {
      return [];
    }
  }

  drop() {
    try {
      sessionStorage.removeItem(this.key);
    } catch {
      // As above.
    }
  }
}

const named = ({ round, tag, replaces }) => JSON.stringify([round, tag ?? null, replaces ?? null]);
