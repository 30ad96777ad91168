/** Runs the search in a worker, so that the page stays responsive. */

import { search } from "./search.js";

addEventListener("message", ({ data }) => postMessage(search(data, 0, data.maxnumber + 1)));
