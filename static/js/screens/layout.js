/** Lays out the bars on the presenter's screen, between the question and the totals. */

import { shorten } from "../text/shorten.js";
import { formatNumber, text } from "../text/texts.js";
import { arrangeBars, lettersFor, measureLabels, shownKeys, tiedBelow } from "./grid.js";

const DIGIT = 0.66; // em: the width of a digit
const MOST_OF_HEIGHT = 0.21; // how much of the screen's height a row takes at most

export class Layout {
  #measured = { key: "", labels: [] };
  #arranged = { key: "", found: null };

  /** onPart(words, longest): receives the sentence that says which choices are shown, and the longest possible one. */
  constructor({ room, bars, list, onPart }) {
    Object.assign(this, { room, bars, list, onPart });
    this.context = document.createElement("canvas").getContext("2d");
    // Another font has other widths.
    this.ready = document.fonts?.ready.then(() => (this.#measured.key = this.#arranged.key = ""));
    this.labels = [];
    // Paper has room for whole labels.
    addEventListener("beforeprint", () => this.bars.setLabels(this.labels));
  }

  /** chart: a chart of the poll's method (methods/registry.js); shown: whether it has figures; counted: whether there are ballots. */
  draw(chart, { shown, counted }) {
    if (!chart.length) return;
    this.labels = chart.map(({ label }) => label);
    const { labels } = this;
    const starred = chart.some((bar) => bar.won);
    const lengths = figureLengths(chart, shown);
    const found = this.#arrange(labels, { ...this.#box(), figures: widthOf(lengths), starred });
    this.#apply(found, lengths);
    this.bars.setLabels(this.#shorten(labels, found));
    const only = shownKeys(chart, found.capacity);
    this.bars.draw(chart, { shown, only });
    this.onPart(only ? partText(chart, found.capacity, shown && counted) : "", only ? longestPartText(labels.length) : "");
  }

  /** Arrange the bars, only if the room or the labels have changed: tallies arrive ten times a second. */
  #arrange(labels, room) {
    const measured = this.#measure(labels, room.starred);
    const key = JSON.stringify([this.#measured.key, room]);
    if (key !== this.#arranged.key) this.#arranged = { key, found: arrangeBars(measured, room) };
    return this.#arranged.found;
  }

  /** Shorten the labels that don't fit, keeping them distinct. */
  #shorten(labels, found) {
    const long = labels.filter((_, index) => !found.fits[index]);
    if (!long.length) return labels;
    const short = shorten(long, lettersFor(this.#measured.labels, labels, found));
    return labels.map((label, index) => (found.fits[index] ? label : short.shift()));
  }

  #measure(labels, bold) {
    const { fontFamily } = getComputedStyle(this.list);
    const font = `${bold ? 700 : 560} 100px ${fontFamily}`;
    const key = JSON.stringify([font, labels]);
    if (key !== this.#measured.key) {
      this.context.font = font;
      const width = (words) => this.context.measureText(words).width / 100;
      this.#measured = { key, labels: measureLabels(labels, width) };
    }
    return this.#measured.labels;
  }

  /** Read the box's size and the bounds of the font size, which the style sheet sets as the font sizes of two elements. */
  #box() {
    const { room, list } = this;
    return {
      width: room.clientWidth,
      height: room.clientHeight,
      most: parseFloat(getComputedStyle(room).fontSize),
      least: parseFloat(getComputedStyle(room.parentElement).fontSize),
      gap: parseFloat(getComputedStyle(list).columnGap) || 0,
    };
  }

  #apply({ beside, lines, columns, rows, size }, { share, votes }) {
    this.list.classList.toggle("beside", beside);
    const height = Math.min(this.room.clientHeight, rows * MOST_OF_HEIGHT * innerHeight);
    const values = { columns, rows, lines, size: `${size}px`, height: `${height}px`, share, votes };
    for (const [name, value] of Object.entries(values)) this.list.style.setProperty(`--${name}`, value);
  }
}

/** Return the lengths of the longest figures of a chart, in characters: `share` for the first, `votes` for the second. */
function figureLengths(chart, shown) {
  if (!shown) return { share: 0, votes: 0 };
  const longest = (figures) => Math.max(0, ...figures.map((figure) => (figure ? wordsOf(figure).length : 0)));
  return { share: Math.max(4, longest(chart.map(({ main }) => main))), votes: longest(chart.map(({ more }) => more)) };
}

const wordsOf = ({ value, format = formatNumber }) => format(value);

const widthOf = ({ share, votes }) => (share + votes) * DIGIT + 1.6;

/** Return the longest text that partText() can return. Room for it is reserved: otherwise the number of shown choices
 *  and the text's height would keep changing each other. */
function longestPartText(total) {
  const all = ["firstOf", "levelOf", "leadingOf"].map((key) => text(key, { count: total, shown: total, total }));
  return all.reduce((one, other) => (other.length > one.length ? other : one));
}

/** Say which bars are shown, unless all are. ranked: whether these are the bars with the most votes. */
function partText(chart, capacity, ranked) {
  const total = chart.length;
  if (!ranked) return text("firstOf", { count: capacity, total });
  const tied = tiedBelow(chart, capacity);
  if (tied) return text("levelOf", { count: tied, shown: capacity, total });
  return text("leadingOf", { count: capacity, total });
}
