/** How many choices fit on a presenter's screen, and in how many columns. Pure. */

const LEAST_ROW = 0.072; // of the screen's height: a label and a bar that the last row can read
const LEAST_COLUMN = 0.36; // of the screen's height, too: what is narrower breaks every label

/** → { columns, rows, capacity } for `count` choices in a box of width × height on a screen `screen` high. */
export function arrange(count, { width, height, screen }) {
  const mostRows = Math.max(1, Math.floor(height / (screen * LEAST_ROW)));
  const mostColumns = Math.max(1, Math.floor(width / (screen * LEAST_COLUMN)));
  // One column as long as it doesn't crowd; more only for the sake of taller rows.
  const columns = Math.min(mostColumns, Math.max(1, Math.ceil(count / Math.min(mostRows, 8))));
  const rows = Math.min(mostRows, Math.ceil(count / columns));
  return { columns, rows, capacity: columns * rows };
}

/** The numbers that are shown when not all fit: those with most votes, ties by order; null if all fit. */
export function leading(choices, capacity) {
  if (choices.length <= capacity) return null;
  const byVotes = [...choices].sort((a, b) => (b.votes ?? 0) - (a.votes ?? 0) || a.number - b.number);
  return byVotes.slice(0, capacity).map((choice) => choice.number);
}
