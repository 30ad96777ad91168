/** The switch between the system's colours, light and dark. */

const KEY = "landslide.theme";
const ORDER = ["auto", "light", "dark"];

const current = () => document.documentElement.dataset.theme || "auto";

function apply(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Storage is blocked: the choice lasts as long as the page.
  }
}

function show() {
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    button.textContent = button.dataset[current()];
    button.hidden = false;
  }
}

export function nextTheme() {
  apply(ORDER[(ORDER.indexOf(current()) + 1) % ORDER.length]);
  show();
}

for (const button of document.querySelectorAll("[data-theme-switch]")) {
  button.addEventListener("click", nextTheme);
}
show();
