/** When a page was printed, for the paper. */

import { dateAndTime } from "../text/texts.js";

const stamp = () => (document.getElementById("printed").textContent = dateAndTime(Date.now()));

addEventListener("beforeprint", stamp);
stamp();
