/** Token inputs of texts, as a task needs them: for `run`, whose numbers an application reads. */

import type { TokenInputs } from "./inputs.js";
import { encoderOf } from "./of-kind.js";
import type { EdgeSession, RunOptions } from "./session.js";

/**
 * Token inputs of texts, or of pairs, for a run with the same `task`; in one batch.
 *
 * A task may say where its texts are cut, and what stands before them. Throws BaseError `base.text`,
 * InputError, TaskError `task.unknown`, `task.needs`.
 */
export function encode(
  session: EdgeSession,
  texts: readonly string[],
  options: RunOptions & {
    readonly pairs?: readonly string[] | undefined;
    readonly maxLength?: number | undefined;
  } = {},
): TokenInputs {
  const encoder = encoderOf(session, session.decoded(options.task));
  return encoder.encode(texts, options.pairs, options.maxLength);
}
