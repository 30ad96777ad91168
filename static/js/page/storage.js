/** Values in the browser's storage, as JSON. Where storage is blocked or full, a value lasts as long as the page. */

/** The stored value; null without one, undefined if storage can't be read. */
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
    // As above.
  }
}

/** All keys that begin with `prefix`. */
export function storedKeys(prefix) {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  } catch {
    return [];
  }
}
