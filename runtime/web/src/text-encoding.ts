/** What texts become: rows of token ids, and windows of a long text. `osd-edge/text` makes them. */

import type { TokenInputs } from "./inputs.js";
import type { TaskText } from "./task-text.js";

/** Token ids of one text, and their types. */
export interface TokenRow {
  readonly ids: readonly number[];
  readonly types: readonly number[];
}

/**
 * A token in its text: characters `start` to `end`, as JavaScript counts them (UTF-16 units), and
 * the number of the word that it is of.
 */
export interface PlacedToken {
  readonly start: number;
  readonly end: number;
  readonly word: number;
}

/** Some tokens of a text, with the special ones and the question around them. */
export interface TextWindow extends TokenRow {
  /** For each id the token of the text, null for any other. */
  readonly tokens: readonly (PlacedToken | null)[];
}

export interface WindowOptions {
  /** Tokens of a window, special ones included, where fewer than the task and the base take. */
  readonly maxLength?: number | undefined;
  /** Tokens of a window that are in the next one too, at most half of it; 128 unless told. */
  readonly stride?: number | undefined;
}

export interface TextEncoding {
  /** Token inputs of texts, or of pairs of texts, padded on the right. */
  encode(texts: readonly string[], pairs?: readonly string[], maxLength?: number): TokenInputs;
  /** A text of any length in windows, each behind the whole `question` where there is one. */
  windows?(text: string, question: string | null, options: WindowOptions): readonly TextWindow[];
  /** An encoder for tasks with such settings; without it they are refused (`task.needs`). */
  of?(text: TaskText): TextEncoding;
}

/** Token inputs `[rows, tokens]` of `rows`, padded on the right with `padId`. */
export function padded(rows: readonly TokenRow[], padId: number): TokenInputs {
  const tokens = rows.reduce((most, { ids }) => Math.max(most, ids.length), 1);
  const size = rows.length * tokens;
  const [ids, mask, types] = [new Int32Array(size), new Int32Array(size), new Int32Array(size)];
  ids.fill(padId);
  rows.forEach((row, i) => {
    ids.set(row.ids, i * tokens);
    types.set(row.types, i * tokens);
    // An empty text has no token where none is added: one of padding then stands for it, or its
    // answer would be another in every batch.
    mask.fill(1, i * tokens, i * tokens + Math.max(row.ids.length, 1));
  });
  return {
    dims: [rows.length, tokens],
    input_ids: ids,
    attention_mask: mask,
    token_type_ids: types,
  };
}
