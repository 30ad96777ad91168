/** Shortens labels and keeps them distinct. Pure. */

const segments = globalThis.Intl?.Segmenter ? new Intl.Segmenter() : null;

/** Split into what readers see as letters (grapheme clusters): an emoji of several parts is one letter. */
const letters = (label) => (segments ? [...segments.segment(label)].map(({ segment }) => segment) : [...label]);

/** Shorten each label to at most `longest` letters. Labels with a common beginning keep the part in which they differ. */
export function shorten(labels, longest) {
  const split = labels.map(letters);
  const cut = split.map((label) => cutAfter(label, longest));
  const apart = split.map((label, at) => {
    if (label.length <= longest) return cut[at];
    const alike = split.filter((other, there) => there !== at && cut[there] === cut[at]);
    return alike.length ? cutBefore(label, Math.max(...alike.map((other) => commonStart(label, other))), longest) : cut[at];
  });
  // Number labels that are still equal.
  return apart.map((words, at) => (isOnly(words, apart) ? words : `${at + 1}. ${cutAfter(split[at], longest - 4)}`));
}

const isOnly = (words, all) => all.indexOf(words) === all.lastIndexOf(words);

function cutAfter(label, longest) {
  return label.length <= longest ? label.join("") : `${label.slice(0, Math.max(1, longest - 1)).join("").trimEnd()}…`;
}

/** Keep a beginning and the part from `at`: "Resolution on the budget, item 12: parks" → "Resolu…item 12: parks". */
function cutBefore(label, at, longest) {
  const rest = label.slice(wordStart(label, at));
  const kept = Math.max(Math.ceil(longest / 3), longest - rest.length) - 1;
  return `${label.slice(0, kept).join("").trimEnd()}…${cutAfter(rest, longest - kept - 1)}`;
}

function wordStart(label, at) {
  for (let start = at; start > Math.max(0, at - 12); start -= 1) if (label[start - 1] === " ") return start;
  return at;
}

function commonStart(one, other) {
  const differs = one.findIndex((letter, at) => letter !== other[at]);
  return differs < 0 ? one.length : differs;
}
