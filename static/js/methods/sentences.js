/** Sentences about a tally's figures, shared by all pages: what is the same for every method. */

import { isFinal, isStepped, resultText } from "../text/sentences.js";
import { text } from "../text/texts.js";
import { methodOf } from "./registry.js";

/** Say how many voted; empty while stepped results don't show any ballots yet. */
export function totalsText(tally) {
  return !tally.ballots && isStepped(tally) ? "" : methodOf(tally).totals(tally);
}

/** Describe the second tally, of quarantined ballots, and say whether they would change the outcome; empty without any. */
export function quarantineText(tally) {
  const quarantined = tally.quarantined;
  if (!quarantined?.ballots) return "";
  const ballots = text("setAside", { count: quarantined.ballots });
  return quarantined.withheld ? `${ballots}. ${text("setAsideWithheld")}` : methodOf(tally).quarantined(tally, ballots);
}

/** Explain the figures: the base of the shares, that they don't add up to 100 %, that results are stepped. */
export function figuresNote(tally, decimals = 0) {
  const key = tally.ballots ? methodOf(tally).note(tally, decimals) : "";
  const steps = isStepped(tally) ? text("inSteps", { count: tally.release_step }) : "";
  return [key && text(key), steps].filter(Boolean).join(" ");
}

/** Say how the poll ended or, if the method can tell, how it stands; empty without ballots. */
export const outcomeText = (tally) => (tally.visible && tally.ballots ? methodOf(tally).outcome(tally) : "");

/** Say who leads or has won, for a screen reader. */
export function announcementText(tally) {
  if (!tally.visible || !tally.ballots) return "";
  const total = totalsText(tally);
  if (!isFinal(tally)) return methodOf(tally).leading(tally, total);
  return [resultText(tally), outcomeText(tally), total].filter(Boolean).map((sentence) => `${sentence}.`).join(" ");
}
