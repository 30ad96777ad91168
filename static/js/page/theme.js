/** The colour scheme (the system's, light or dark) and the footer's button that changes it. */

const KEY = "landslide.theme";
const THEMES = ["auto", "light", "dark"];
const buttons = document.querySelectorAll("[data-theme-switch]");

const current = () => document.documentElement.dataset.theme || "auto";

export function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Storage is blocked: the theme lasts as long as the page.
  }
  label();
}

function label() {
  for (const button of buttons) {
    button.textContent = button.dataset[current()];
    button.hidden = false;
  }
}

for (const button of buttons) button.addEventListener("click", nextTheme);
label();
