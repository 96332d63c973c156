/** Windows of a text longer than the base takes, through the base with a task that judges tokens. */

import { baseError } from "./errors.js";
import { encoderOf } from "./of-kind.js";
import type { EdgeSession } from "./session.js";
import type { DecodedTask } from "./task.js";
import { padded, type TextWindow, type WindowOptions } from "./text-encoding.js";

const BATCH = 8; // windows that go through the base together

/** A window with its logits `[tokens, labels]`, flat, padding left out. */
export interface JudgedWindow {
  readonly window: TextWindow;
  readonly logits: Float32Array;
}

/** The windows of `text`, each behind `question` where there is one, judged by `task`. */
export async function judged(
  session: EdgeSession,
  task: DecodedTask,
  text: string,
  question: string | null,
  options: WindowOptions,
): Promise<JudgedWindow[]> {
  const encoder = encoderOf(session, task);
  if (encoder.windows === undefined) {
    throw baseError("text", "the session's encoder makes no windows");
  }
  const windows = encoder.windows(text, question, options);
  const result: JudgedWindow[] = [];
  for (let at = 0; at < windows.length; at += BATCH) {
    const batch = windows.slice(at, at + BATCH);
    const inputs = padded(batch, session.manifest.text?.padId ?? 0);
    const logits = (await session.run(inputs, { task })).logits as Float32Array;
    const row = logits.length / batch.length;
    batch.forEach((window, i) => {
      const end = i * row + window.ids.length * task.labels.length;
      result.push({ window, logits: logits.subarray(i * row, end) });
    });
  }
  return result;
}
