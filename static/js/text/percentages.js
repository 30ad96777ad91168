/** Formats shares as percentages that don't mislead. polls/text/percentages.py has the same rules. Pure.
 *
 *  Shares are rounded half up. All shares of a poll have the same number of decimals: enough to distinguish the first from
 *  the second, and to show each share on the right side of every majority in MAJORITIES. A share above 0 is never shown
 *  as 0 %, and a share below 100 % never as 100 %. */

const MAJORITIES = [[1n, 2n], [3n, 5n], [2n, 3n], [3n, 4n]];

/** Return the share of `votes` among `ballots`: { sign, percent }, where sign is "", "<" or ">". */
export function rounded(votes, ballots, decimals) {
  const step = 10 ** -decimals;
  const [units, all] = [unitsOf(votes, ballots, decimals), allOf(decimals)];
  if (units === 0n && votes > 0) return { sign: "<", percent: step };
  if (units === all && votes < ballots) return { sign: ">", percent: 100 - step };
  return { sign: "", percent: Number(units) * step };
}

/** Return how many decimals the shares of these choices need, at least `least`. */
export function decimalsFor(votes, ballots, least = 0) {
  let decimals = least;
  while (ballots && !isFair(votes, ballots, decimals)) decimals += 1;
  return decimals;
}

/** Tell whether the rounded shares add up to 100 %. Each share is rounded separately, so the sum can differ. */
export function addsUp(votes, ballots, decimals) {
  if (!ballots) return true;
  const sum = votes.reduce((total, each) => total + unitsOf(each, ballots, decimals), 0n);
  return sum === allOf(decimals);
}

function isFair(votes, ballots, decimals) {
  return votes.every((each) => keepsMajorities(each, ballots, decimals)) && tellsFirstFromSecond(votes, ballots, decimals);
}

/** Tell whether the rounded share is on the same side of each majority as the exact share. */
function keepsMajorities(votes, ballots, decimals) {
  const [units, all] = [unitsOf(votes, ballots, decimals), allOf(decimals)];
  return MAJORITIES.every(([part, whole]) => {
    const exact = BigInt(votes) * whole - BigInt(ballots) * part;
    const shown = units * whole - all * part;
    if (exact >= 0n !== shown >= 0n) return false;
    // A half must be exceeded; the other majorities need only be reached.
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

/** Return the share in units of the last decimal, rounded half up, as a BigInt. */
function unitsOf(votes, ballots, decimals) {
  return (2n * BigInt(votes) * allOf(decimals) + BigInt(ballots)) / (2n * BigInt(ballots));
}

const allOf = (decimals) => 100n * 10n ** BigInt(decimals);
