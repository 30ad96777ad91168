/** The rows for a poll's choices: add one, remove one, paste several lines. Without JavaScript there are empty rows. */

for (const box of document.querySelectorAll("[data-choice-rows]")) enhance(box);

// Django focuses a new poll's first input too, but the page may still be hidden then.
const adding = document.querySelector("#django-admin-form-add-constants[data-model-name]");
if (adding && document.activeElement === document.body) document.getElementById("id_question")?.focus();

function enhance(box) {
  const add = box.querySelector("[data-add]");
  const rows = () => [...box.querySelectorAll(".ls-row")];
  const input = (row) => row.querySelector("input");
  const blank = rows()[0].cloneNode(true);
  input(blank).value = "";
  const label = input(blank).getAttribute("aria-label");

  function numberRows() {
    rows().forEach((row, index) => {
      input(row).setAttribute("aria-label", label.replace("1", index + 1));
      input(row).id = input(row).id.replace(/\d+$/, index + 1);
      row.querySelector("[data-remove]").hidden = rows().length < 3;
    });
  }

  function addRow(after = rows().at(-1)) {
    const row = blank.cloneNode(true);
    after.after(row);
    numberRows();
    return row;
  }

  function paste(event) {
    const row = event.target.closest(".ls-row");
    const lines = event.clipboardData.getData("text").split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
    if (!row || lines.length < 2) return;
    event.preventDefault();
    input(row).value += lines[0];
    let last = row;
    for (const line of lines.slice(1)) {
      const next = last.nextElementSibling;
      last = next?.matches(".ls-row") && !input(next).value ? next : addRow(last);
      input(last).value = line;
    }
    input(last).focus();
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function onEnter(event) {
    if (event.key !== "Enter" || !event.target.matches("input")) return;
    event.preventDefault(); // Enter would submit the form
    const next = event.target.closest(".ls-row").nextElementSibling;
    input(next?.matches(".ls-row") ? next : addRow()).focus();
  }

  function remove(event) {
    const row = event.target.closest("[data-remove]")?.closest(".ls-row");
    if (!row) return;
    const near = row.nextElementSibling?.matches(".ls-row") ? row.nextElementSibling : row.previousElementSibling;
    row.remove();
    numberRows();
    input(near).focus();
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  add.hidden = false;
  add.addEventListener("click", () => input(addRow()).focus());
  box.addEventListener("paste", paste);
  box.addEventListener("keydown", onEnter);
  box.addEventListener("click", remove);
  numberRows();
}
