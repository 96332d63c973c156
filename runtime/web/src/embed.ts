/** Vectors of texts. */

import { encoderOf, taskOfKind } from "./of-kind.js";
import type { EdgeSession, RunOptions } from "./session.js";

/**
 * A vector for each text, by a task of the kind `embedding`; in one batch.
 *
 * Throws as `classify` does.
 */
export async function embed(
  session: EdgeSession,
  texts: readonly string[],
  options: RunOptions & { readonly maxLength?: number | undefined } = {},
): Promise<Float32Array[]> {
  const task = taskOfKind(session, options.task, "embed", "embedding");
  const inputs = encoderOf(session, task).encode(texts, undefined, options.maxLength);
  const logits = (await session.run(inputs, { task })).logits as Float32Array;
  const width = logits.length / texts.length;
  return texts.map((_, i) => logits.slice(i * width, (i + 1) * width));
}
