/** Answers that stand in a context: the likeliest spans between a start and an end. */

import { taskOfKind } from "./of-kind.js";
import type { EdgeSession, RunOptions } from "./session.js";
import type { PlacedToken, TextWindow, WindowOptions } from "./text-encoding.js";
import { judged, type JudgedWindow } from "./windows.js";

/**
 * An answer: characters `start` to `end` of the context (as `text.slice` counts), and its score.
 *
 * The score is the product of the chances of start and end, added up over windows that give the
 * same text.
 */
export interface Span {
  readonly text: string;
  readonly score: number;
  readonly start: number;
  readonly end: number;
}

export interface AnswerOptions extends RunOptions, WindowOptions {
  /** How many answers to give; 1 unless told otherwise. */
  readonly top?: number | undefined;
  /** Tokens of an answer at most; 15 unless told otherwise. */
  readonly maxTokens?: number | undefined;
}

interface Candidate {
  readonly first: number;
  readonly last: number;
  readonly score: number;
}

const TOP = 1;
const MAX_TOKENS = 15;
const EXCLUDED = -10_000; // the logit of a token that is not of the context

/**
 * The likeliest answers to `question` in `context`, cut at whole words, by a task of the kind
 * `spans`.
 *
 * The context may be of any length, as in `tag`. Throws as `classify` does.
 */
export async function answer(
  session: EdgeSession,
  question: string,
  context: string,
  options: AnswerOptions = {},
): Promise<Span[]> {
  const { top = TOP, maxTokens = MAX_TOKENS } = options;
  const task = taskOfKind(session, options.task, "answer", "spans");
  const found = new Map<string, Span>();
  for (const judgement of await judged(session, task, context, question, options)) {
    for (const { first, last, score } of best(judgement, 2 * top + 10, maxTokens)) {
      const [start, end] = characters(judgement.window, first, last);
      const text = context.slice(start, end);
      const earlier = found.get(text);
      found.set(
        text,
        earlier === undefined
          ? { text, score, start, end }
          : { ...earlier, score: earlier.score + score },
      );
    }
  }
  return [...found.values()].sort((a, b) => b.score - a.score).slice(0, top);
}

/** The `count` likeliest spans in one window; of equal ones the earlier first. */
function best({ window, logits }: JudgedWindow, count: number, maxTokens: number): Candidate[] {
  const { tokens } = window;
  // The first token is where models point that find no answer: it takes its share of chances.
  const starts = chances(tokens.map((token, i) => logit(token !== null || i === 0, logits[2 * i])));
  const ends = chances(
    tokens.map((token, i) => logit(token !== null || i === 0, logits[2 * i + 1])),
  );
  const candidates: Candidate[] = [];
  tokens.forEach((begin, first) => {
    for (let last = first; begin !== null && last < first + maxTokens; last++) {
      if ((tokens[last] ?? null) === null) continue;
      const score = (starts[first] as number) * (ends[last] as number);
      if (score > 0) candidates.push({ first, last, score });
    }
  });
  // sort is stable, and they were found in the order of their places
  return candidates.sort((a, b) => b.score - a.score).slice(0, count);
}

function logit(counts: boolean, value: number | undefined): number {
  return counts ? (value as number) : EXCLUDED;
}

/** Chances in doubles, as products of many are compared. */
function chances(logits: readonly number[]): number[] {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const exponentials = logits.map((x) => Math.exp(x - largest));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((x) => x / sum);
}

/** Where the words of two tokens begin and end in the context, as far as they are in the window. */
function characters({ tokens }: TextWindow, first: number, last: number): [number, number] {
  const ofWord = (at: number) => (token: PlacedToken | null) => token?.word === tokens[at]?.word;
  const begin = tokens.find(ofWord(first)) as PlacedToken;
  const end = tokens.filter(ofWord(last)).at(-1) as PlacedToken;
  return [begin.start, end.end];
}
