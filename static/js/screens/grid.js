/** Arranges bars in rows and columns on the presenter's screen, so that every shown label can be read. Pure. */

const LINE = 1.2; // em
const STAR = 1.4; // em before a winner's label
/** A label has one line beside its figures, or up to three lines of the column's width. `height` in em. */
const LAYOUTS = [
  { beside: true, lines: 1, height: LINE + 1.2 },
  ...[1, 2, 3].map((lines) => ({ beside: false, lines, height: lines * LINE + 1.75 })),
];
const LEAST_TRACK = 5; // em: a shorter track shows no bar
const MOST_COLUMNS = 6;
const COMFORTABLE = 1.05; // times the least font size: above this size, long bars matter more than large letters

/** Return each label as the widths of its words and of a space, in em; width(text) measures a text. */
export function measureLabels(labels, width) {
  const space = width(" ");
  return labels.map((label) => ({ space, words: label.split(/\s+/u).map(width) }));
}

/** Arrange measured labels in a box of width × height pixels: { beside, lines, columns, rows, capacity, size, fits }.
 *
 *  least, most: bounds of the font size; gap: between columns; figures: width of the figures at the bar's end, in em;
 *  starred: whether a label may have a star before it. Result: `fits` tells for each label whether it has room. */
export function arrangeBars(labels, { width, height, least, most, gap, figures, starred = false }) {
  let best = null;
  for (const layout of LAYOUTS) {
    for (let columns = 1; columns <= MOST_COLUMNS; columns += 1) {
      const column = (width - gap * (columns - 1)) / columns;
      if (column < (figures + LEAST_TRACK) * least) break;
      const found = arrangeIn(labels, layout, { columns, column, height, least, most, figures, starred });
      if (!best || isBetter(found, best, least)) best = found;
    }
  }
  return best ?? arrangeIn(labels, LAYOUTS[2], { columns: 1, column: width, height, least, most, figures, starred });
}

function arrangeIn(labels, layout, { columns, column, height, least, most, figures, starred }) {
  const possible = Math.max(1, Math.floor(height / (least * layout.height)));
  const rows = Math.min(possible, Math.ceil(labels.length / columns));
  const used = Math.min(columns, Math.ceil(labels.length / rows));
  const room = (size) => column / size - (layout.beside ? figures : 0);
  const fitting = (size) => labels.map((label) => linesOf(label, room(size), starred) <= layout.lines);
  const fits = fitting(least);
  const readable = count(fits);
  let size = Math.max(least, Math.min(most, height / rows / layout.height));
  while (size > least && count(fitting(size)) < readable) size = Math.max(least, size * 0.94);
  const capacity = Math.min(labels.length, rows * columns);
  const cut = labels.length - readable;
  // A truncated label is worse than one that is left out.
  const worth = (capacity * (readable - 3 * cut)) / labels.length;
  return { ...layout, columns: used, rows, capacity, size, fits, worth, column: room(size), starred };
}

function isBetter(one, other, least) {
  if (one.worth <= 0 && other.worth <= 0) return one.column * one.lines > other.column * other.lines;
  const enough = ({ size }) => Math.min(size, COMFORTABLE * least);
  const differences = [one.worth - other.worth, enough(one) - enough(other), other.columns - one.columns, one.size - other.size];
  return (differences.find((difference) => difference !== 0) ?? 0) > 0;
}

const count = (fits) => fits.filter(Boolean).length;

/** Return how many lines a label takes in a column of this width in em. */
export function linesOf({ words, space }, column, starred = false) {
  let lines = 1;
  let used = starred ? STAR : 0;
  for (const word of words) {
    if (used && used + space + word > column) {
      lines += 1;
      used = 0;
    }
    const broken = Math.max(0, Math.ceil(word / column) - 1);
    lines += broken;
    used += (used ? space : 0) + word - broken * column;
  }
  return lines;
}

/** Return how many letters a truncated label may have, by the widths of the labels that don't fit. */
export function lettersFor(labels, texts, { lines, column, fits, starred }) {
  // Lines before the last one rarely fill the column.
  const room = lines * column * (lines > 1 ? 0.85 : 0.97) - (starred ? STAR : 0);
  const letters = (label, at) => texts[at].length * (room / wholeWidth(label));
  const longest = Math.min(...labels.map((label, at) => (fits[at] ? Infinity : letters(label, at))));
  return Math.max(8, Math.floor(longest));
}

const wholeWidth = ({ words, space }) => words.reduce((sum, word) => sum + word + space, 0);

/** Return the keys of the bars to show if not all fit, else null. Bars of more weight come first, and ties keep the order
 *  of the chart. While votes are hidden, all weights are 0: the selection must not reveal who leads. */
export function shownKeys(chart, capacity) {
  return chart.length <= capacity ? null : ranked(chart).slice(0, capacity).map((bar) => bar.key);
}

/** Return how many bars that aren't shown have the same weight as the last shown bar. */
export function tiedBelow(chart, capacity) {
  const bars = ranked(chart);
  return bars.slice(capacity).filter((bar) => bar.weight === bars[capacity - 1]?.weight).length;
}

const ranked = (chart) => [...chart].sort((a, b) => b.weight - a.weight);
