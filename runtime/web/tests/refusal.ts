/** What a refused action says. */

import assert from "node:assert/strict";
import { OsdEdgeError } from "../src/core.js";

/** The code with which `action` is refused; fails where it is not. */
export async function code(action: () => unknown): Promise<string> {
  try {
    await action();
  } catch (error) {
    if (error instanceof OsdEdgeError) return error.code;
    throw error;
  }
  assert.fail("it was not refused");
}
