/** Writes the time of printing on a printed page. */

import { dateAndTime } from "../text/texts.js";

const stamp = () => (document.getElementById("printed").textContent = dateAndTime(Date.now()));

addEventListener("beforeprint", stamp);
stamp();
