/** Which of our keys an event means, on every keyboard. Pure. */

/** The key's own sign where that is Latin; else, as on Cyrillic, Greek or Korean keyboards, the one it has on ours. */
export function shortcutOf({ key, code, shiftKey }) {
  if (/^[ -~]$/.test(key)) return key.toLowerCase();
  if (/^Key[A-Z]$/.test(code)) return code.at(-1).toLowerCase();
  if (code === "Slash" && shiftKey) return "?";
  return key;
}
