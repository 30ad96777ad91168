/** The receipt page: fills in the receipt of the ballot that was cast in this browser, if there is one. */

import "../page/printed.js";

const form = document.getElementById("receipt-form");
const field = document.getElementById("receipt");

/** The outbox of static/js/vote/outbox.js keeps it; where a device may have several voters, each has a box. */
function kept(code) {
  const base = `landslide.ballot.${code}`;
  try {
    const boxes = Object.keys(localStorage).filter((key) => key === base || key.startsWith(`${base}.`));
    const receipts = boxes.map((key) => JSON.parse(localStorage.getItem(key))?.mine?.receipt).filter(Boolean);
    return receipts.length === 1 ? receipts[0] : "";
  } catch {
    return ""; // storage is blocked or broken
  }
}

const receipt = kept(form.dataset.code);
const from = document.getElementById("receipt-from");
const said = () => (from.hidden = !receipt || field.value !== receipt);
if (!field.value) field.value = receipt;
field.addEventListener("input", said);
said();
