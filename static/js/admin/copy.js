/** Buttons that copy a field's text. Without a clipboard, as on plain http, the text is selected. */

for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  field.addEventListener("focus", () => field.select());
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      button.textContent = button.dataset.done;
    } catch {
      button.textContent = document.execCommand?.("copy") ? button.dataset.done : button.dataset.byHand;
    }
  });
}
