/** Requests the status of the voter's ballot by its receipt. */

import { fetchReceiptStatus } from "./voter.js";

const NEW_RECEIPT = 5000; // how long a receipt counts as new: until the first tally of a newly opened page has arrived
const NEW_SPREAD = 1000; // the longest wait for a new receipt; the wait is random
const HALL_SPREAD = 30000; // an event of the poll reaches all viewers in a hall at the same moment
const RETRY = 30000; // between requests, while the ballot isn't counted yet
const ATTEMPTS = 5;

export class ReceiptStatus {
  #receipt = null;
  #since = 0; // when this receipt came, by performance.now()
  #occasion = "";
  #timer = 0;

  /** onStatus(receipt, status): accepted · counted · quarantined · replaced · rejected · purged · unknown. */
  constructor({ root, onStatus }) {
    this.root = root;
    this.onStatus = onStatus;
  }

  /** Request the status once for each pair of receipt and occasion. An occasion is the key of an event that may have
   *  changed the status; an empty occasion is ignored. */
  follow(receipt, occasion) {
    if (receipt === this.#receipt && occasion === this.#occasion) return;
    if (receipt !== this.#receipt) this.#since = performance.now();
    const isNew = performance.now() - this.#since < NEW_RECEIPT;
    this.#receipt = receipt;
    this.#occasion = occasion;
    clearTimeout(this.#timer);
    if (receipt && occasion) this.#requestIn(Math.random() * (isNew ? NEW_SPREAD : HALL_SPREAD), ATTEMPTS);
  }

  #requestIn(milliseconds, attempts) {
    this.#timer = setTimeout(() => this.#request(attempts), milliseconds);
  }

  async #request(attempts) {
    if (document.hidden) return this.#requestIn(NEW_SPREAD * (1 + Math.random()), attempts);
    const [receipt, occasion] = [this.#receipt, this.#occasion];
    const status = await fetchReceiptStatus(this.root, receipt);
    if (receipt !== this.#receipt || occasion !== this.#occasion) return;
    if (status !== null) this.onStatus(receipt, status);
    if ((status === null || status === "accepted") && attempts > 1) this.#requestIn(RETRY * (1 + Math.random()), attempts - 1);
  }
}
