/** Copies a field's text at a button's press; on plain http, where no clipboard is offered, it selects it. */

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
