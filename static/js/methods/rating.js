/** Rating: voters rate one or several items on a scale. The style "nps" asks for the net promoter score, 0 to 10. */

import { shareFigure } from "../page/choice-rows.js";
import { isFinal, labelsText } from "../text/sentences.js";
import { formatDecimal, formatNumber, formatPercent, formatSigned, shares, text } from "../text/texts.js";
import { ratingsWith } from "./rating-form.js";

const TABLE_DECIMALS = 1;
const FEW = 5; // items are ranked only if each has this many answers
const NONE = "–";

const isNps = ({ config }) => config.style === "nps";
const lowest = (config) => (config.style === "nps" ? 0 : 1);

/** Return the values of a scale, from the lowest. */
function values(config) {
  return Array.from({ length: config.scale + 1 - lowest(config) }, (_, index) => lowest(config) + index);
}

function endLabels({ style, low_label: low, high_label: high }) {
  return style === "nps" ? [low || text("notLikely"), high || text("veryLikely")] : [low, high];
}

/** Return the only item of a rating; null if it has several. */
const onlyItem = ({ choices }) => (choices.length === 1 ? choices[0] : null);

const sharesOf = ({ answers, distribution }, decimals) =>
  shares({ ballots: answers, choices: distribution.map((votes) => ({ votes })) }, decimals);

/** Return the length of an item's bar, from 0 to 1: the exact place of its mean or score on the scale. */
function standing(tally, { answers, distribution }) {
  const all = values(tally.config);
  const sum = (list) => list.reduce((total, each) => total + each, 0);
  if (isNps(tally)) return (sum(distribution.slice(9)) - sum(distribution.slice(0, 7)) + answers) / (2 * answers);
  const total = sum(distribution.map((count, index) => count * all[index]));
  return (total - answers * all[0]) / (answers * (all.at(-1) - all[0]));
}

/** Return a bar for each item: its mean or score, and its number of answers. */
function itemBars(tally, shown) {
  const bars = tally.choices.map((choice) => {
    const { number, label, answers, mean, score } = choice;
    const part = shown && answers ? standing(tally, choice) : 0;
    const main = isNps(tally) ? { value: score, format: formatSigned } : { value: mean, format: formatDecimal, unit: 0.1 };
    const more = shown ? { value: answers } : null;
    return { key: number, label, part, some: part > 0 && part < 1, main: shown && answers ? main : null, more, won: false, weight: part };
  });
  return isRanked(tally) && shown ? bars.sort((a, b) => b.part - a.part) : bars;
}

/** Return a bar for each value of the only item. */
function valueBars(tally, shown) {
  const { answers, distribution } = onlyItem(tally);
  const shareTexts = shown && answers ? sharesOf({ answers, distribution }) : null;
  const [low, high] = endLabels(tally.config);
  const all = values(tally.config);
  return all.map((value, index) => {
    const count = shown ? distribution[index] : 0;
    const end = index === 0 ? low : index === all.length - 1 ? high : "";
    return {
      key: value,
      hue: 0, // one colour for all bars: values aren't choices
      label: end ? `${value} · ${end}` : String(value),
      part: shareTexts ? count / answers : 0,
      some: count > 0 && count < answers,
      main: shareTexts ? shareFigure(count, answers, shareTexts) : null,
      more: shown ? { value: count } : null,
      won: false,
      weight: count,
    };
  });
}

/** Tell whether the items are in the order of their means: the result is final, and no item has few answers. */
const isRanked = (tally) => isFinal(tally) && tally.visible && tally.choices.every(({ answers }) => answers >= FEW);

/** Say the mean or the net promoter score of an item. */
function itemText(tally, item) {
  if (!item.answers) return "";
  if (!isNps(tally)) {
    const [mean, median] = [formatDecimal(item.mean), formatNumber(item.median)];
    return text("ratingMean", { mean, median, scale: tally.config.scale });
  }
  const [promoters, passives, detractors] = item.shares.map(formatPercent);
  const margin = item.margin === null ? "" : ` (±${formatNumber(item.margin)})`;
  return text("npsScore", { score: formatSigned(item.score) + margin, promoters, passives, detractors });
}

export const rating = {
  Ballot: ratingsWith({ values, endLabels, bars: (...asked) => itemBars(...asked) }),
  content: (selections) => ({ ratings: Object.fromEntries(selections) }),

  rule({ choices, config, min_selections: min, max_selections: max }) {
    if (choices.length === 1) return { key: "rateOne", low: lowest(config), high: config.scale };
    if (min === choices.length) return { key: "rateAll", count: min };
    if (min === max) return { key: "rateExactly", count: max };
    return max < choices.length || min > 1 ? { key: "rateBetween", min, max } : { key: "rateAny" };
  },

  problem(tally, selections) {
    const { min_selections: min, max_selections: max } = tally;
    const count = selections.length;
    if (count > max) return { key: "rateFewer", count: count - max };
    if (count >= min) return null;
    return count ? { key: "rateMore", count: min - count } : rating.rule(tally);
  },

  progress(tally, selections, problem) {
    if (onlyItem(tally)) return text("readyToCast");
    const rated = text("rated", { count: selections.length, total: tally.choices.length });
    return problem ? `${rated} ${text(problem.key, problem)}` : rated;
  },

  chart: (tally, shown) => (onlyItem(tally) ? valueBars(tally, shown) : itemBars(tally, shown)),

  table(tally) {
    const second = tally.quarantined?.choices;
    const item = onlyItem(tally);
    const setAside = second ? [text("setAsideHead")] : [];
    if (item) {
      const shareTexts = sharesOf(item, TABLE_DECIMALS);
      const rows = valueBars(tally, true).map(({ label, part }, index) => {
        const count = item.distribution[index];
        const cells = [formatNumber(count), shareTexts.of(count), ...(second ? [formatNumber(second[0].distribution[index])] : [])];
        return { label, won: false, part, cells };
      });
      return { head: [text("ratingHead"), text("answersHead"), text("shareHead"), ...setAside], rows };
    }
    const answersBy = new Map(second?.map(({ number, answers }) => [number, answers]));
    const rows = itemBars(tally, true).map(({ key, label, part }) => {
      const choice = tally.choices.find(({ number }) => number === key);
      const aside = second ? [formatNumber(answersBy.get(key) ?? 0)] : [];
      const figures = choice.answers ? itemFigures(tally, choice) : itemFigures(tally, null);
      const cells = [...figures, formatNumber(choice.answers), ...choice.distribution.map(formatNumber), ...aside];
      return { label, won: false, part, cells };
    });
    const means = isNps(tally) ? ["scoreHead"] : ["meanHead", "medianHead"];
    const head = ["itemHead", ...means, "answersHead"].map((key) => text(key));
    return { head: [...head, ...values(tally.config).map(String), ...setAside], rows };
  },

  totals(tally) {
    const ballots = text("ballots", { count: tally.ballots });
    return onlyItem(tally) ? ballots : `${ballots} · ${text("answers", { count: tally.answers })}`;
  },

  counts(tally) {
    const ballots = [tally.ballots, "ballotsUnit"];
    return onlyItem(tally) ? [ballots] : [ballots, [tally.answers, "answersUnit"]];
  },

  note(tally, decimals) {
    const item = onlyItem(tally);
    if (!item) return "ofAnswers";
    if (isNps(tally) && item.margin === null) return "fewAnswers";
    return tally.visible && item.answers && !sharesOf(item, decimals).addUp ? "sharesRounded" : "";
  },

  outcome(tally) {
    const item = onlyItem(tally);
    if (item) return itemText(tally, item);
    if (!isRanked(tally)) return "";
    const bars = itemBars(tally, true);
    const best = bars.filter(({ part }) => part === bars[0].part).map(({ label }) => label);
    return text("ratedHighest", { choices: labelsText(best) });
  },

  leading(tally, total) {
    const outcome = rating.outcome(tally);
    return outcome ? `${outcome}. ${total}.` : `${total}.`;
  },

  quarantined: (tally, ballots) => `${ballots}.`,
};

function itemFigures(tally, choice) {
  if (isNps(tally)) return [choice ? formatSigned(choice.score) : NONE];
  return choice ? [formatDecimal(choice.mean), formatNumber(choice.median)] : [NONE, NONE];
}
