/** Keyboard shortcuts on every keyboard layout. Pure. */

/** Return the key's character if it is Latin, else (on Cyrillic, Greek or Korean keyboards) that of the US layout. */
export function shortcutOf({ key, code, shiftKey }) {
  if (/^[ -~]$/.test(key)) return key.toLowerCase();
  if (/^Key[A-Z]$/.test(code)) return code.at(-1).toLowerCase();
  if (code === "Slash" && shiftKey) return "?";
  return key;
}
