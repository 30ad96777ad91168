/** Single choice: a ballot marks one choice. */

import { plurality } from "./plurality.js";

export const single = plurality;
