/** The voting methods of the pages. Each has one module here, and only it knows what its ballots and figures mean.
 *
 *  A method is an object:
 *
 *    Ballot                the form on the voter's page: a class like Cards
 *    content(selections)   the members of the ballot's document that hold the selections
 *    rule(tally)           what a ballot may mark, as { key, … }: a text's key and values
 *    problem(tally, s)     why these selections can't be cast, as { key, … }; null if they can
 *    progress(tally, s, problem)  what to say while the voter chooses
 *    chart(tally, shown)   the bars: { key, label, part, some, main, more, won, weight, hue }, figures null unless shown
 *    table(tally)          the figures as a table: { head, rows: [{ label, won, part, cells }] }, all texts
 *    totals(tally)         the sentence that says how many voted
 *    counts(tally)         the presenter's counters, up to two: [value, key of its unit]
 *    note(tally, decimals) the key of a text that explains the figures, or ""
 *    outcome(tally)        the sentence that says how the poll stands or ended, or ""
 *    leading(tally, total) the same while the poll is open, for a screen reader
 *    quarantined(tally, ballots)  what the second tally holds; `ballots` says how many
 *
 *  Selections are an array, with an element for each mark; [] marks nothing. See docs/adding.md. */

import { multiple } from "./multiple.js";
import { rating } from "./rating.js";
import { single } from "./single.js";

const METHODS = { single, multiple, rating };

export const methodOf = (tally) => METHODS[tally.method];
