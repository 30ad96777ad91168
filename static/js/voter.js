/** The one request that depends on the voter. It sets the voter's cookie and tells whether a ballot is in. */

import { backoff, retryAfter } from "./backoff.js";
import { learn } from "./clock.js";

const TIMEOUT = 8000;

async function ask(url) {
  const abort = new AbortController();
  const timeout = setTimeout(() => abort.abort(), TIMEOUT);
  const sent = Date.now();
  try {
    const response = await fetch(url, { signal: abort.signal, cache: "no-store" });
    learn(response, sent);
    if (response.ok) return { voter: await response.json() };
    return { gone: response.status === 404, wait: retryAfter(response.headers.get("Retry-After")) };
  } catch {
    return { wait: null };
  } finally {
    clearTimeout(timeout);
  }
}

/** Asks until there is an answer. onTrouble() after every attempt that brought none; null if the poll is gone. */
export async function meetVoter({ root, code, onTrouble }) {
  for (let attempt = 0; ; attempt += 1) {
    const { voter, gone, wait } = await ask(`${root}api/v1/polls/${code}/voter/`);
    if (voter) return voter;
    if (gone) return null;
    onTrouble?.();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, wait ?? backoff(attempt));
      addEventListener("online", () => (clearTimeout(timer), setTimeout(resolve, Math.random() * 1500)), { once: true });
    });
  }
}
