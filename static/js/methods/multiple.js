/** Multiple choice: a ballot marks several choices, unless the organiser allows only one. */

import { plurality } from "./plurality.js";

export const multiple = plurality;
