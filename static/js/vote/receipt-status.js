/** What became of a voter's ballot, by its receipt, and the words for it. */

import { text } from "../text/texts.js";
import { fetchReceiptStatus } from "./voter.js";

const ARRIVING = 1000; // a page that was just opened asks within so many milliseconds
const OPENED = 5000; // for so long it counts as that: its tally comes after its ballot, and may tell of decisions
const SPREAD = 30000; // what the poll does reaches a whole hall at the same moment
const AGAIN = 30000; // while the ballot is still to be counted
const ATTEMPTS = 5;

export class ReceiptStatus {
  /** accepted · counted · quarantined · replaced · rejected · purged · unknown; null while nobody has said. */
  status = null;
  #receipt = null;
  #since = 0; // when this receipt came, by performance.now()
  #occasion = "";
  #timer = 0;

  constructor({ root, onChange }) {
    this.root = root;
    this.onChange = onChange;
  }

  /** Ask about this receipt now that `occasion` may have changed its fate; once for each, empty for none. */
  follow(receipt, occasion) {
    if (receipt === this.#receipt && occasion === this.#occasion) return;
    if (receipt !== this.#receipt) {
      this.status = null;
      this.#since = performance.now();
    }
    const opened = performance.now() - this.#since < OPENED;
    this.#receipt = receipt;
    this.#occasion = occasion;
    clearTimeout(this.#timer);
    if (receipt && occasion) this.#askIn(Math.random() * (opened ? ARRIVING : SPREAD), ATTEMPTS);
  }

  #askIn(milliseconds, attempts) {
    this.#timer = setTimeout(() => this.#ask(attempts), milliseconds);
  }

  async #ask(attempts) {
    if (document.hidden) return this.#askIn(ARRIVING * (1 + Math.random()), attempts);
    const receipt = this.#receipt;
    const [occasion, status] = [this.#occasion, await fetchReceiptStatus(this.root, receipt)];
    if (receipt !== this.#receipt || occasion !== this.#occasion) return;
    this.status = status ?? this.status;
    this.onChange();
    if ((status === null || status === "accepted") && attempts > 1) this.#askIn(AGAIN * (1 + Math.random()), attempts - 1);
  }
}

const WORDS = {
  quarantined: { title: "fateQuarantined", words: "fateQuarantinedText", tone: "warn" },
  replaced: { title: "fateReplaced", words: "fateReplacedText", tone: "warn" },
  rejected: { title: "fateRejected", words: "fateRejectedText", tone: "bad" },
  purged: { title: "fatePurged", words: "fatePurgedText", tone: "" },
  unknown: { title: "fateUnknown", words: "fateUnknownText", tone: "bad" },
};
const OVER = { counted: "ballotCounts", accepted: "ballotWaits" };

/** { title, words, tone } for a ballot that is in: while the poll is open, or `over`; `invited`: of an invite that was
 *  used elsewhere; `changed`: cast just now, in place of another. */
export function ballotTexts(status, { over, invited, changed }) {
  const found = WORDS[status];
  if (found) return { title: text(found.title), words: text(found.words), tone: found.tone };
  const title = text(invited ? "inviteUsed" : changed ? "changeIn" : "ballotIn");
  if (over) return { title, words: text(OVER[status] ?? "ballotIsIn"), tone: "good" };
  const words = invited ? (status === "counted" ? "inviteUsedCounted" : "inviteUsedText") : "ballotInText";
  return { title, words: text(words), tone: "good" };
}
