/** Rows for a poll's choices: more of them, fewer of them, and several from one paste. Without JavaScript
 *  the page's empty rows do. */

for (const box of document.querySelectorAll("[data-choice-rows]")) liven(box);

// Django focuses the first input of a new poll too, but at a moment at which the page may still be hidden.
const adding = document.querySelector("#django-admin-form-add-constants[data-model-name]");
if (adding && document.activeElement === document.body) document.getElementById("id_question")?.focus();

function liven(box) {
  const add = box.querySelector("[data-add]");
  const rows = () => [...box.querySelectorAll(".ls-row")];
  const input = (row) => row.querySelector("input");
  const blank = rows()[0].cloneNode(true);
  input(blank).value = "";
  const words = input(blank).getAttribute("aria-label");

  function name() {
    rows().forEach((row, index) => {
      input(row).setAttribute("aria-label", words.replace("1", index + 1));
      input(row).id = input(row).id.replace(/\d+$/, index + 1);
      row.querySelector("[data-remove]").hidden = rows().length < 3;
    });
  }

  function grow(after = rows().at(-1)) {
    const row = blank.cloneNode(true);
    after.after(row);
    name();
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
      last = next?.matches(".ls-row") && !input(next).value ? next : grow(last);
      input(last).value = line;
    }
    input(last).focus();
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function key(event) {
    if (event.key !== "Enter" || !event.target.matches("input")) return;
    event.preventDefault(); // Enter would send the form
    const next = event.target.closest(".ls-row").nextElementSibling;
    input(next?.matches(".ls-row") ? next : grow()).focus();
  }

  function remove(event) {
    const row = event.target.closest("[data-remove]")?.closest(".ls-row");
    if (!row) return;
    const near = row.nextElementSibling?.matches(".ls-row") ? row.nextElementSibling : row.previousElementSibling;
    row.remove();
    name();
    input(near).focus();
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  add.hidden = false;
  add.addEventListener("click", () => input(grow()).focus());
  box.addEventListener("paste", paste);
  box.addEventListener("keydown", key);
  box.addEventListener("click", remove);
  name();
}
