/** fetch() that gives up after `timeout` milliseconds, reading the answer included. AbortSignal.timeout() is missing in
 *  browsers that still vote. */

export async function timedFetch(url, { timeout, ...options }, read) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeout);
  try {
    return await read(await fetch(url, { cache: "no-store", ...options, signal: abort.signal }));
  } finally {
    clearTimeout(timer);
  }
}
