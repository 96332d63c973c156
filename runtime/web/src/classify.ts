/** Labels and their scores, of texts and of pictures. */

import type { Kind } from "./heads.js";
import type { RunInputs } from "./inputs.js";
import { encoderOf, taskOfKind } from "./of-kind.js";
import { normalisedPixels, type Picture } from "./pictures.js";
import { sigmoid, softmax } from "./scores.js";
import type { EdgeSession, RunOptions } from "./session.js";
import type { DecodedTask } from "./task.js";

/**
 * The likeliest label of one text, its score, and the scores of all labels.
 *
 * Scores add up to 1 where one label applies; each stands for itself in a multi-label task, and
 * they are the numbers themselves in a regression.
 */
export interface Answer {
  readonly label: string;
  readonly score: number;
  readonly scores: Readonly<Record<string, number>>;
}

/** The kinds that have a score for each label, and how it comes of the logits: null as it is. */
const SCORES: { readonly [kind in Kind]?: typeof sigmoid | null } = {
  labels: softmax,
  "multi-label": sigmoid,
  regression: null,
};

/** The labels whose score is `least` or more: what applies in a multi-label task. */
export function chosen(answer: Answer, least = 0.5): string[] {
  return Object.keys(answer.scores).filter((label) => (answer.scores[label] as number) >= least);
}

/**
 * Label and scores of each text (or pair of texts), in one batch.
 *
 * For tasks of one label, several labels, or numbers. Throws BaseError `base.text`, InputError,
 * TaskError `task.none` without a task, `task.kind` for a task of another kind.
 */
export function classify(
  session: EdgeSession,
  texts: readonly string[],
  options: RunOptions & {
    readonly pairs?: readonly string[];
    readonly maxLength?: number | undefined;
  } = {},
): Promise<Answer[]> {
  return classified(session, options, (task) =>
    encoderOf(session, task).encode(texts, options.pairs, options.maxLength),
  );
}

/**
 * As `classify`, of pictures, integers 0 to 255.
 *
 * They have the size that the base takes: a canvas resizes. Their alpha, where the base takes
 * three channels, is passed over. Throws BaseError `base.image` too.
 */
export function classifyImages(
  session: EdgeSession,
  pictures: readonly Picture[],
  options: RunOptions = {},
): Promise<Answer[]> {
  return classified(session, options, () => normalisedPixels(session.manifest, pictures));
}

async function classified(
  session: EdgeSession,
  options: RunOptions,
  inputs: (task: DecodedTask) => RunInputs,
): Promise<Answer[]> {
  const task = taskOfKind(session, options.task, "classify", ...(Object.keys(SCORES) as Kind[]));
  const given = inputs(task);
  const { logits } = await session.run(given, { task });
  const width = task.labels.length;
  return Array.from({ length: given.dims[0] }, (_, i) =>
    answerOf(
      task.head.kind,
      task.labels,
      (logits as Float32Array).subarray(i * width, (i + 1) * width),
    ),
  );
}

function answerOf(kind: Kind, labels: readonly string[], logits: Float32Array): Answer {
  const scores = SCORES[kind]?.(logits) ?? logits;
  const best = scores.indexOf(Math.max(...scores));
  return {
    label: labels[best] as string,
    score: scores[best] as number,
    scores: Object.fromEntries(labels.map((label, i) => [label, scores[i] as number])),
  };
}
