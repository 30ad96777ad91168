/** What single and multiple choice have in common: ballots mark choices, and each mark is a vote. */

import { shareFigure } from "../page/choice-rows.js";
import { isFinal, labelsOf, labelsText } from "../text/sentences.js";
import { shorten } from "../text/shorten.js";
import { formatNumber, isolated, shares, text } from "../text/texts.js";
import { cardsWith } from "./cards.js";

const TABLE_DECIMALS = 1;
const LABEL_LETTERS = 40; // the maximum length of a label in the sentence about the second tally
const MOST_QUARANTINED = 5; // choices in that sentence; the table has all

const allowsSeveral = (tally) => tally.max_selections > 1;

export const plurality = {
  Ballot: cardsWith((...tally) => plurality.chart(...tally)),
  content: (selections) => ({ selections }),

  rule({ min_selections: min, max_selections: max, choices }) {
    if (max === 1) return { key: "chooseOne" };
    if (min === max) return { key: "chooseExactly", count: max };
    if (min <= 1) return { key: "chooseUpTo", count: max };
    if (max >= choices.length) return { key: "chooseAtLeast", count: min };
    return { key: "chooseBetween", min, max };
  },

  problem(tally, selections) {
    const { min_selections: min, max_selections: max } = tally;
    const count = selections.length;
    if (max === 1) return count ? null : { key: "chooseOne" };
    if (count > max) return { key: "takeAway", count: count - max };
    if (count < min) return count ? { key: "chooseMore", count: min - count } : plurality.rule(tally);
    return null;
  },

  progress(tally, selections, problem) {
    if (!allowsSeveral(tally)) return text("ready");
    const chosen = text("chosen", { count: selections.length });
    return problem ? `${chosen} ${text(problem.key, problem)}` : chosen;
  },

  chart(tally, shown) {
    const { choices, ballots, winners = [] } = tally;
    const shareTexts = shown ? shares(tally) : null;
    return choices.map(({ number, label, votes }) => ({
      key: number,
      label,
      part: shown && ballots ? votes / ballots : 0,
      some: shown && votes > 0 && votes < ballots,
      main: shown && ballots ? shareFigure(votes, ballots, shareTexts) : null,
      more: shown ? { value: votes } : null,
      won: shown && winners.includes(number),
      weight: shown ? votes : 0,
    }));
  },

  table(tally) {
    const { choices, ballots, winners = [], quarantined } = tally;
    const shareTexts = shares(tally, TABLE_DECIMALS);
    const second = quarantined?.choices && new Map(quarantined.choices.map(({ number, votes }) => [number, votes]));
    const rows = choices.map(({ number, label, votes }) => {
      const cells = [formatNumber(votes), shareTexts.of(votes)];
      if (second) cells.push(formatNumber(second.get(number) ?? 0));
      return { label, won: winners.includes(number), part: ballots ? votes / ballots : 0, cells };
    });
    return { head: ["choiceHead", "votesHead", "shareHead", ...(second ? ["setAsideHead"] : [])].map((key) => text(key)), rows };
  },

  totals(tally) {
    if (!allowsSeveral(tally)) return text("ballots", { count: tally.ballots });
    return `${text("voters", { count: tally.ballots })} · ${text("selections", { count: tally.selections })}`;
  },

  counts(tally) {
    if (!allowsSeveral(tally)) return [[tally.ballots, "ballotsWord"]];
    return [[tally.ballots, "votersWord"], [tally.selections, "selectionsWord"]];
  },

  note(tally, decimals) {
    if (allowsSeveral(tally)) return "shareOfVoters";
    return tally.visible && !shares(tally, decimals).addUp ? "sharesRounded" : "";
  },

  outcome(tally) {
    const winners = isFinal(tally) ? labelsOf(tally, tally.winners ?? []) : [];
    if (!winners.length) return "";
    return text(winners.length > 1 ? "tie" : "winner", { choices: labelsText(winners) });
  },

  leading(tally, total) {
    const most = Math.max(...tally.choices.map((choice) => choice.votes));
    const leaders = tally.choices.filter((choice) => choice.votes === most).map((choice) => choice.label);
    const values = { choices: labelsText(leaders), share: shares(tally).of(most), total };
    return text(leaders.length === 1 ? "announcement" : "announcementTie", values);
  },

  quarantined(tally, ballots) {
    const { choices, winners_if_released: winners } = tally.quarantined;
    const most = choices.filter(({ votes }) => votes).sort((a, b) => b.votes - a.votes);
    const labels = most.slice(0, MOST_QUARANTINED).flatMap(({ number }) => labelsOf(tally, [number]));
    const parts = shorten(labels, LABEL_LETTERS).map((label, index) => `${isolated(label)} ${formatNumber(most[index].votes)}`);
    const votes = parts.length ? `: ${parts.join(" · ")}` : "";
    const more = most.length > MOST_QUARANTINED ? " …" : ".";
    return `${ballots}${votes}${more} ${ifReleasedText(tally, winners)}`.trim();
  },
};

function ifReleasedText(tally, winners) {
  if (!winners || String(winners) === String(tally.winners)) return "";
  return text(winners.length > 1 ? "tieWithThem" : "winnerWithThem", { choices: labelsText(labelsOf(tally, winners)) });
}
