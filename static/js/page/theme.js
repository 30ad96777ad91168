/** The colour scheme: the system's, light or dark. */

const KEY = "landslide.theme";
const THEMES = ["auto", "light", "dark"];

export const currentTheme = () => document.documentElement.dataset.theme || "auto";

export function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length];
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Storage is blocked: the theme lasts as long as the page.
  }
}
