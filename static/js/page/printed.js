/** Puts the time of printing onto a printed page. */

import { dateAndTime } from "../text/texts.js";

const stamp = () => (document.getElementById("printed").textContent = dateAndTime(Date.now()));

addEventListener("beforeprint", stamp);
stamp();
