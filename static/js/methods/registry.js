/** The voting methods of the pages. Each has a module here, and only that module knows its ballots and figures.
 *
 *  A method is an object. `tally` is the tally's document; selections are an array with an element for each mark.
 *
 *    Ballot                       the form on the voter's page: a class with the members of ChoiceForm
 *    content(selections)          the members of the ballot's document that hold the selections
 *    rule(tally)                  what a ballot may mark, as { key, … }: a text's key and its values
 *    problem(tally, selections)   why these selections can't be cast, as { key, … }; null if they can
 *    progress(tally, selections, problem)  the sentence beside the button while the voter chooses
 *    chart(tally, shown)          a list of bars, see below; without figures unless `shown`
 *    table(tally)                 the figures as a table, in texts: { head, rows: [{ label, won, part, cells }] }
 *    totals(tally)                the sentence that says how many voted
 *    counts(tally)                one or two counters for the presenter's screen: [number, key of its unit]
 *    note(tally, decimals)        the key of a text that explains the figures, or ""
 *    outcome(tally)               the sentence with the result, or, if the method can tell, with the present state
 *    leading(tally, total)        the present state of an open poll, for a screen reader
 *    quarantined(tally, ballots)  the sentence about the second tally; `ballots` says how many ballots it has
 *
 *  A bar is { key, label, part, some, main, more, won, weight, hue }. `part` is its length, 0 to 1, and `some` says that
 *  it is neither empty nor full. `main` and `more` are figures at its end, { value, format, unit } as for animateNumber()
 *  or null. If not all bars have room, those of most `weight` are shown. `hue` is a colour's number; by default the bar's
 *  place. docs/adding.md adds a method. */

import { multiple } from "./multiple.js";
import { rating } from "./rating.js";
import { single } from "./single.js";

const METHODS = { single, multiple, rating };

export const methodOf = (tally) => METHODS[tally.method];
