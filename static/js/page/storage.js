/** Values in the browser's storage, as JSON. Where storage is blocked or full, a value lasts as long as the page. */

/** Return the stored value; null if there is none, undefined if storage can't be read. */
export function readStored(key, storage = "localStorage") {
  try {
    return JSON.parse(globalThis[storage].getItem(key));
  } catch {
    return undefined;
  }
}

/** Store a value; null removes it. */
export function store(key, value, storage = "localStorage") {
  try {
    if (value === null) globalThis[storage].removeItem(key);
    else globalThis[storage].setItem(key, JSON.stringify(value));
  } catch {
    // Storage is blocked or full.
  }
}

/** Return all keys that begin with `prefix`. */
export function storedKeys(prefix) {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  } catch {
    return [];
  }
}
