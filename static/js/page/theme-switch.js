/** The button in the footer that changes the colour scheme. */

import { currentTheme, nextTheme } from "./theme.js";

function label(button) {
  button.textContent = button.dataset[currentTheme()];
  button.hidden = false;
}

for (const button of document.querySelectorAll("[data-theme-switch]")) {
  button.addEventListener("click", () => (nextTheme(), label(button)));
  label(button);
}
