/** Fetch and read an answer within `timeout` milliseconds. Some voters' browsers lack AbortSignal.timeout(). */
export async function timedFetch(url, { timeout, ...options }, read) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeout);
  try {
    return await read(await fetch(url, { cache: "no-store", ...options, signal: abort.signal }));
  } finally {
    clearTimeout(timer);
  }
}
