/** Requests about the voter and their receipt. The voter endpoint sets the voter's cookies and says whether the voter
 *  may vote and has voted. */

import { backoff, retryAfter } from "../live/backoff.js";
import { learnTime } from "../live/server-clock.js";
import { timedFetch } from "../live/timed-fetch.js";

const TIMEOUT = 8000;

function request(url, headers = {}) {
  const sent = performance.now();
  const read = async (response) => {
    learnTime(response, sent);
    if (response.ok) return { found: await response.json() };
    const problem = await response.json().catch(() => null);
    return { gone: response.status === 404, problem, wait: retryAfter(response.headers.get("Retry-After")) };
  };
  return timedFetch(url, { headers, timeout: TIMEOUT }, read).catch(() => ({ wait: null }));
}

/** Request the voter endpoint until it answers; null if there is no such poll. onTrouble() after each failed attempt. */
export async function fetchVoter({ root, code, invite, onTrouble }) {
  for (let attempt = 0; ; attempt += 1) {
    const token = invite.token;
    const headers = token === null ? {} : { "Voter-Invite": token };
    const { found, gone, wait } = await request(`${root}api/v1/polls/${code}/voter/`, headers);
    if (found && token !== null && invite.settle(found.invite)) continue;
    if (found) return found;
    if (gone) return null;
    onTrouble();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, wait ?? backoff(attempt));
      addEventListener("online", () => (clearTimeout(timer), setTimeout(resolve, Math.random() * 1500)), { once: true });
    });
  }
}

/** Return a receipt's status, "unknown" if the server doesn't know it, or null if the server doesn't answer. */
export async function fetchReceiptStatus(root, receipt) {
  const { found, problem } = await request(`${root}api/v1/receipts/${receipt}/`);
  if (problem?.code === "receipt_not_found") return problem.reason ?? "unknown";
  return found?.status ?? null;
}
