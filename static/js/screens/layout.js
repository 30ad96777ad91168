/** Lays the bars out on the presenter's screen, in the room that question and totals leave. */

import { shorten } from "../text/shorten.js";
import { arrangeBars, shownNumbers, lettersFor, tiedBelow, measureLabels } from "./grid.js";
import { formatNumber, shares, text } from "../text/texts.js";

const FIGURE = 0.66; // em: the width of one
const ROW_MOST = 0.21; // of the screen's height

export class Layout {
  #measured = { key: "", labels: [] };
  #arranged = { key: "", found: null };

  constructor({ room, bars, list, note }) {
    Object.assign(this, { room, bars, list, note });
    this.context = document.createElement("canvas").getContext("2d");
    // Another font has other widths.
    this.ready = document.fonts?.ready.then(() => (this.#measured.key = this.#arranged.key = ""));
    this.labels = [];
    // Paper has room for them.
    addEventListener("beforeprint", () => this.bars.name(this.labels));
  }

  draw(tally, shown) {
    if (!tally.choices.length) return;
    this.labels = tally.choices.map((choice) => choice.label);
    const { labels } = this;
    const starred = shown && Boolean(tally.winners?.length);
    const widths = widest(tally, shown);
    const found = this.#arrange(labels, { ...this.#box(), figures: emsOf(widths), starred });
    this.#apply(found, widths);
    this.bars.name(this.#cut(labels, found));
    const only = shownNumbers(tally.choices, found.capacity, shown);
    this.bars.draw(tally, { shown, only });
    this.note(only ? partWords(tally, found.capacity, shown) : "", only ? longestPart(labels.length) : "");
  }

  /** Votes come ten times a second, and the room stays as it is. */
  #arrange(labels, room) {
    const measured = this.#measure(labels, room.starred);
    const key = JSON.stringify([this.#measured.key, room]);
    if (key !== this.#arranged.key) this.#arranged = { key, found: arrangeBars(measured, room) };
    return this.#arranged.found;
  }

  /** The labels, those that have no room cut so that they can be told apart. */
  #cut(labels, found) {
    const cut = labels.filter((_, at) => !found.fits[at]);
    if (!cut.length) return labels;
    const short = shorten(cut, lettersFor(this.#measured.labels, labels, found));
    return labels.map((label, at) => (found.fits[at] ? label : short.shift()));
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

  /** The style sheet says the bounds of the letters, in its own units: as the sizes of two boxes' letters. */
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
    const height = Math.min(this.room.clientHeight, rows * ROW_MOST * innerHeight);
    const values = { columns, rows, lines, size: `${size}px`, height: `${height}px`, share, votes };
    for (const [name, value] of Object.entries(values)) this.list.style.setProperty(`--${name}`, value);
  }
}

/** How many characters the longest share and the longest number of votes have. */
function widest(tally, shown) {
  if (!shown) return { share: 0, votes: 0 };
  const words = shares(tally);
  const longest = (write) => Math.max(...tally.choices.map((choice) => write(choice.votes).length));
  return { share: Math.max(4, longest(words.of)), votes: longest(formatNumber) };
}

const emsOf = ({ share, votes }) => (share + votes) * FIGURE + 1.6;

/** As long as what says it may get. Its lines take room from the choices: were they to depend on how many those are,
 *  the two would chase each other. */
function longestPart(total) {
  const all = ["firstOf", "levelOf", "leadingOf"].map((key) => text(key, { count: total, shown: total, total }));
  return all.reduce((one, other) => (other.length > one.length ? other : one));
}

/** Which choices are shown where not all are. */
function partWords(tally, capacity, shown) {
  const total = tally.choices.length;
  if (!shown || !tally.ballots) return text("firstOf", { count: capacity, total });
  const level = tiedBelow(tally.choices, capacity);
  if (level) return text("levelOf", { count: level, shown: capacity, total });
  return text("leadingOf", { count: capacity, total });
}
