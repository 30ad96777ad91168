/** Searches in a worker, so that the voter can read and choose meanwhile. */

import { search } from "./search.js";

addEventListener("message", ({ data }) => postMessage(search(data, 0, data.maxnumber + 1)));
