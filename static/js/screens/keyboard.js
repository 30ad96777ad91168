/** Which shortcut a key event means, on every keyboard. Pure. */

/** The key's character if it is Latin; else, as on Cyrillic, Greek or Korean keyboards, that of the US keyboard. */
export function shortcutOf({ key, code, shiftKey }) {
  if (/^[ -~]$/.test(key)) return key.toLowerCase();
  if (/^Key[A-Z]$/.test(code)) return code.at(-1).toLowerCase();
  if (code === "Slash" && shiftKey) return "?";
  return key;
}
