/** The receipt page: fills in the receipt of this browser's ballot, if there is exactly one. */

import { readStored, storedKeys } from "../page/storage.js";
import "../page/printed.js";
import "../page/theme.js";

const form = document.getElementById("receipt-form");
const field = document.getElementById("receipt");

/** Read the receipt from storage (vote/outbox.js), where each voter of this device has a key. */
function storedReceipt(code) {
  const base = `landslide.ballot.${code}`;
  const receipts = [base, ...storedKeys(`${base}.`)].map((key) => readStored(key)?.mine?.receipt).filter(Boolean);
  return receipts.length === 1 ? receipts[0] : "";
}

const receipt = storedReceipt(form.dataset.code);
const from = document.getElementById("receipt-from");
const showOrigin = () => (from.hidden = !receipt || field.value !== receipt);
if (!field.value) field.value = receipt;
field.addEventListener("input", showOrigin);
showOrigin();
