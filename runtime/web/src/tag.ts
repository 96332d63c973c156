/** Tags of a text: the parts of it to which a label of the task applies. */

import { inputError } from "./errors.js";
import { taskOfKind } from "./of-kind.js";
import { softmax } from "./scores.js";
import type { EdgeSession, RunOptions } from "./session.js";
import type { PlacedToken, WindowOptions } from "./text-encoding.js";
import { judged, type JudgedWindow } from "./windows.js";

/**
 * A part of a text, characters `start` to `end` (as `text.slice` counts), its label without B-, I-,
 * E- or S-, and a score.
 */
export interface Tag {
  readonly label: string;
  readonly score: number;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface TagOptions extends RunOptions, WindowOptions {
  /** Whether the first token of a word speaks for all of it. */
  readonly words?: boolean | undefined;
}

type ScoredToken = PlacedToken & { readonly scores: Float32Array };

const OUTSIDE = "O";

/**
 * The tags of each text in order, by a task of the kind `token-labels`.
 *
 * Texts may be of any length: they go through in windows that overlap. Tokens next to each other
 * with the same label are one tag, unless the second begins with B- or S-, or the first with E- or
 * S-. Throws as `classify` does.
 */
export async function tag(
  session: EdgeSession,
  texts: readonly string[],
  options: TagOptions = {},
): Promise<Tag[][]> {
  if (!Array.isArray(texts) || texts.length === 0) {
    throw inputError("texts", "expected a list of one or more texts");
  }
  const task = taskOfKind(session, options.task, "tag", "token-labels");
  const known = new Set(task.labels);
  const marks = task.labels.map((label) => marked(label, known));
  const result: Tag[][] = [];
  for (const text of texts as readonly string[]) {
    const tokens = eachOnce(await judged(session, task, text, null, options), task.labels.length);
    const groups = options.words === true ? byWord(tokens) : tokens.map((token) => [token]);
    result.push(merged(text, groups, marks));
  }
  return result;
}

/** The tokens of all windows; one in two windows is judged where it has more text around it. */
function eachOnce(windows: readonly JudgedWindow[], labels: number): ScoredToken[] {
  const found = new Map<string, { context: number; nth: number; token: ScoredToken }>();
  for (const { window, logits } of windows) {
    const inside = window.tokens.flatMap((token, i) => (token === null ? [] : [{ token, i }]));
    const met = new Map<string, number>();
    inside.forEach(({ token, i }, place) => {
      const characters = `${token.start} ${token.end}`;
      const nth = (met.get(characters) ?? -1) + 1; // tokens of the same characters
      met.set(characters, nth);
      const context = Math.min(place, inside.length - 1 - place);
      const key = `${characters} ${nth}`;
      if ((found.get(key)?.context ?? -1) >= context) return;
      const scores = softmax(logits.subarray(i * labels, (i + 1) * labels));
      found.set(key, { context, nth, token: { ...token, scores } });
    });
  }
  return [...found.values()]
    .sort((a, b) => a.token.start - b.token.start || a.token.end - b.token.end || a.nth - b.nth)
    .map(({ token }) => token);
}

function byWord(tokens: readonly ScoredToken[]): ScoredToken[][] {
  const groups: ScoredToken[][] = [];
  for (const token of tokens) {
    const last = groups.at(-1);
    if (last?.at(-1)?.word === token.word) last.push(token);
    else groups.push([token]);
  }
  return groups;
}

function merged(
  text: string,
  groups: readonly (readonly ScoredToken[])[],
  marks: readonly (readonly [string, string])[],
): Tag[] {
  const parts: { label: string; scores: number[]; start: number; end: number }[] = [];
  let before = "";
  let word: number | undefined;
  for (const group of groups) {
    const first = group[0] as ScoredToken;
    const { end } = group.at(-1) as ScoredToken;
    const { scores, start } = first;
    const score = Math.max(...scores);
    const [mark, label] = marks[scores.indexOf(score)]!;
    const last = parts.at(-1);
    // What ends with a word does not end within it; what begins does, as in transformers.
    const joins = first.word === word ? mark !== "B" : !/[BS]/.test(mark) && !/[ES]/.test(before);
    before = mark;
    word = group.at(-1)?.word;
    if (last?.label === label && joins) {
      last.scores.push(score);
      last.end = end;
    } else {
      parts.push({ label, scores: [score], start, end });
    }
  }
  return parts
    .filter(({ label }) => label !== OUTSIDE)
    .map(({ label, scores, start, end }) => ({
      label,
      score: scores.reduce((a, b) => a + b) / scores.length,
      start,
      end,
      text: text.slice(start, end),
    }));
}

/**
 * The mark of a label (B, I, E or S) and the label without it; one of another form is of I.
 *
 * E and S count where B or I of the same label is there too: a label may be called E-MAIL.
 */
function marked(whole: string, labels: ReadonlySet<string>): [string, string] {
  const label = whole.slice(2);
  const others = ["B-", "I-"].some((mark) => labels.has(mark + label));
  return /^[BI]-/.test(whole) || (/^[ES]-/.test(whole) && others)
    ? [whole[0]!, label]
    : ["I", whole];
}
