/** The one request that depends on the voter. It sets the voter's cookies, tells whether they may vote, and
 *  whether a ballot is in. */

import { backoff, retryAfter } from "../live/backoff.js";
import { learnTime } from "../live/server-clock.js";

const TIMEOUT = 8000;

async function ask(url, headers = {}) {
  const abort = new AbortController();
  const timeout = setTimeout(() => abort.abort(), TIMEOUT);
  const sent = performance.now();
  try {
    const response = await fetch(url, { headers, signal: abort.signal, cache: "no-store" });
    learnTime(response, sent);
    if (response.ok) return { found: await response.json() };
    const problem = await response.json().catch(() => null);
    return { gone: response.status === 404, problem, wait: retryAfter(response.headers.get("Retry-After")) };
  } catch {
    return { wait: null };
  } finally {
    clearTimeout(timeout);
  }
}

/** Asks until there is an answer. onTrouble() after every attempt that brought none; null if the poll is gone. */
export async function fetchVoter({ root, code, invite, onTrouble }) {
  for (let attempt = 0; ; attempt += 1) {
    const token = invite.token;
    const headers = token === null ? {} : { "Voter-Invite": token };
    const { found, gone, wait } = await ask(`${root}api/v1/polls/${code}/voter/`, headers);
    if (found && token !== null && invite.judged(found.invite)) continue;
    if (found) return found;
    if (gone) return null;
    onTrouble?.();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, wait ?? backoff(attempt));
      addEventListener("online", () => (clearTimeout(timer), setTimeout(resolve, Math.random() * 1500)), { once: true });
    });
  }
}

/** What became of the ballot behind a receipt: "accepted", "counted" …; null if nobody says. */
export async function fetchReceiptStatus(root, receipt) {
  const { found, problem } = await ask(`${root}api/v1/receipts/${receipt}/`);
  if (problem?.code === "receipt_not_found") return problem.reason ?? "unknown";
  return found?.status ?? null;
}
