/** Shares as people read them, from the counts; polls/text/percentages.py has the same rule for what the server writes.
 *
 *  A share is rounded half up. It gets more decimals, all of its poll alike, until what is shown says nothing that
 *  isn't so: none looks as if it had reached a majority of MAJORITIES that it missed, or the other way round, and
 *  the first is told from the second. What isn't nothing is never shown as 0 %, nor what isn't all as 100 %. Pure. */

/** What rules ask for: a half, three fifths, two thirds, three quarters. */
const MAJORITIES = [[1n, 2n], [3n, 5n], [2n, 3n], [3n, 4n]];

/** `votes` of `ballots` with so many decimals: { sign, percent }, where sign is "", "<" or ">". */
export function rounded(votes, ballots, decimals) {
  const step = 10 ** -decimals;
  const [units, all] = [unitsOf(votes, ballots, decimals), allOf(decimals)];
  if (units === 0n && votes > 0) return { sign: "<", percent: step };
  if (units === all && votes < ballots) return { sign: ">", percent: 100 - step };
  return { sign: "", percent: Number(units) * step };
}

/** How many decimals the shares of these choices need, `least` or more. */
export function decimalsFor(votes, ballots, least = 0) {
  let decimals = least;
  while (ballots && !isFair(votes, ballots, decimals)) decimals += 1;
  return decimals;
}

/** Do the rounded shares add up to 100 %? They need not where each is rounded for itself. */
export function addsUp(votes, ballots, decimals) {
  if (!ballots) return true;
  const sum = votes.reduce((total, each) => total + unitsOf(each, ballots, decimals), 0n);
  return sum === allOf(decimals);
}

function isFair(votes, ballots, decimals) {
  return votes.every((each) => keepsMajorities(each, ballots, decimals)) && tellsFirstFromSecond(votes, ballots, decimals);
}

/** Is the rounded share on the side of each majority that the exact one is on? */
function keepsMajorities(votes, ballots, decimals) {
  const [units, all] = [unitsOf(votes, ballots, decimals), allOf(decimals)];
  return MAJORITIES.every(([part, whole]) => {
    const exact = BigInt(votes) * whole - BigInt(ballots) * part;
    const shown = units * whole - all * part;
    if (exact >= 0n !== shown >= 0n) return false;
    // More than a half is a majority, exactly a half is none. Of the others, reaching them is what counts.
    return whole !== 2n || exact > 0n === shown > 0n;
  });
}

function tellsFirstFromSecond(votes, ballots, decimals) {
  const first = Math.max(0, ...votes);
  const others = votes.filter((each) => each < first);
  if (!others.length) return true;
  const [one, other] = [first, Math.max(...others)].map((each) => rounded(each, ballots, decimals));
  return one.sign !== other.sign || one.percent !== other.percent;
}

/** The share in units of the last decimal, rounded half up, in whole numbers only. */
function unitsOf(votes, ballots, decimals) {
  return (2n * BigInt(votes) * allOf(decimals) + BigInt(ballots)) / (2n * BigInt(ballots));
}

const allOf = (decimals) => 100n * 10n ** BigInt(decimals);
