/** What `classify`, `tag`, `answer` and `embed` ask of a session: a task of their kind, an encoder. */

import { BaseError, baseError, taskError } from "./errors.js";
import type { Kind } from "./heads.js";
import type { EdgeSession, RunOptions } from "./session.js";
import type { DecodedTask } from "./task.js";
import type { TextEncoding } from "./text-encoding.js";

/** The task for `verb`. Throws TaskError `task.none`, `task.kind`, `task.unknown`. */
export function taskOfKind(
  session: EdgeSession,
  task: RunOptions["task"],
  verb: string,
  ...kinds: Kind[]
): DecodedTask {
  const decoded = session.decoded(task);
  if (decoded === null) {
    throw taskError("none", "no task is active: activate one, or name it");
  }
  const { kind } = decoded.head;
  if (!kinds.includes(kind)) {
    throw taskError(
      "kind",
      `${verb} is for tasks of the kind ${kinds.join(", ")}; ${decoded.name} is of the kind ${kind}`,
    );
  }
  return decoded;
}

/**
 * The session's encoder, as `task` needs it.
 *
 * Throws BaseError `base.text` where there is none, TaskError `task.needs` where it knows nothing of
 * a task's own settings.
 */
export function encoderOf(
  { encoder, manifest }: EdgeSession,
  task: DecodedTask | null,
): TextEncoding {
  if (encoder === null) {
    if (manifest.text === null) {
      throw baseError("text", "it was exported from a model without a tokenizer");
    }
    throw new BaseError(
      "base.text",
      "the session was opened without an encoder, which texts need: give `create` the option " +
        "encoder, such as textEncoder of osd-edge/text, or give `run` token ids",
    );
  }
  const text = task?.text ?? null;
  if (text === null) return encoder;
  if (encoder.of === undefined) {
    throw taskError("needs", `${task?.name} cuts texts in its own way: give the encoder an of()`);
  }
  return encoder.of(text);
}
