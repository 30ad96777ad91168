/** How many choices fit on a presenter's screen, and in how many columns. Pure. */

const LEAST_ROW = 0.055; // of the screen's height: a label and a bar that the last row can read
const LEAST_COLUMN = 0.24; // of the screen's height, too: what is narrower cuts every label
const ROOMY_ROW = 0.145; // a label may take two lines
const ONE_COLUMN = 8; // choices; more get taller rows in two
const MOST_ROWS = 10;

/** → { columns, rows, capacity, roomy } for `count` choices in a box of width × height on a screen `screen` high. */
export function arrange(count, { width, height, screen }) {
  const mostRows = Math.min(MOST_ROWS, Math.max(1, Math.floor(height / (screen * LEAST_ROW))));
  const mostColumns = Math.max(1, Math.floor(width / (screen * LEAST_COLUMN)));
  const fitsOne = count <= Math.min(ONE_COLUMN, mostRows);
  const columns = fitsOne ? 1 : Math.min(mostColumns, Math.max(2, Math.ceil(count / mostRows)));
  const rows = Math.min(mostRows, Math.ceil(count / columns));
  return { columns, rows, capacity: columns * rows, roomy: height / rows >= screen * ROOMY_ROW };
}

/** The numbers that are shown when not all fit: those with most votes, ties by order; null if all fit. */
export function leading(choices, capacity) {
  if (choices.length <= capacity) return null;
  const byVotes = [...choices].sort((a, b) => (b.votes ?? 0) - (a.votes ?? 0) || a.number - b.number);
  return byVotes.slice(0, capacity).map((choice) => choice.number);
}
