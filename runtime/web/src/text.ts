/**
 * Text in, token ids out, by the package `@huggingface/tokenizers` (an optional peer).
 *
 * Apart from the core, so that an application with a tokenizer of its own does not carry it.
 */

import { Tokenizer } from "@huggingface/tokenizers";
import { baseError, InputError, reasonOf } from "./errors.js";
import type { BaseManifest } from "./manifest.js";
import type { RunInputs, TextEncoding } from "./session.js";

interface Encoded {
  readonly tokens: readonly string[];
  readonly token_type_ids?: readonly number[];
}

type Template = (first: string[], second: string[] | null, special: boolean) => Encoded;

const LONE_SURROGATE = /\p{Surrogate}/u; // with the u flag, a pair is one code point

/**
 * An encoder for the base's `tokenizer.json`: the option `encoder` of `EdgeSession.create`.
 *
 * Throws BaseError `base.text` where the tokenizer cannot be read.
 */
export function textEncoder(tokenizerJson: string, manifest: BaseManifest): TextEncoding {
  const text = manifest.text;
  if (text === null) {
    throw baseError("text", "the base was exported from a model without a tokenizer");
  }
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(JSON.parse(tokenizerJson) as object, {});
  } catch (error) {
    throw baseError("text", `cannot read tokenizer.json (${reasonOf(error)})`);
  }
  return {
    encode(texts, pairs, maxLength = text.maxLength) {
      check(texts, pairs, maxLength, text.maxLength);
      const rows = texts.map((one, i) => encodeOne(tokenizer, one, pairs?.[i], maxLength));
      return padded(tokenizer, rows, text.padId);
    },
  };
}

function check(
  texts: readonly string[],
  pairs: readonly string[] | undefined,
  maxLength: number,
  limit: number,
): void {
  const all = [...texts, ...(pairs ?? [])];
  if (texts.length === 0 || all.some((one) => typeof one !== "string")) {
    throw new InputError("input.texts", "expected a list of one or more texts");
  }
  if (all.some((one) => LONE_SURROGATE.test(one))) {
    throw new InputError("input.texts", "a text is not valid Unicode");
  }
  if (pairs !== undefined && pairs.length !== texts.length) {
    throw new InputError("input.texts", `${texts.length} texts, but ${pairs.length} second texts`);
  }
  if (!(Number.isInteger(maxLength) && maxLength >= 1 && maxLength <= limit)) {
    throw new InputError("input.max-length", `expected 1 to ${limit} tokens, found ${maxLength}`);
  }
}

/** Tokens of a text or a pair, with the special ones, cut to `maxLength` from the longer text. */
function encodeOne(
  tokenizer: Tokenizer,
  text: string,
  pair: string | undefined,
  maxLength: number,
): Encoded {
  const template: Template =
    (tokenizer.post_processor as unknown as Template | null) ??
    ((a, b) => ({ tokens: [...a, ...(b ?? [])] }));
  const tokensOf = (one: string): string[] =>
    one === "" ? [] : tokenizer.tokenize(one, { add_special_tokens: false });
  const first = tokensOf(text);
  const second = pair === undefined ? null : tokensOf(pair);
  const whole = template(first, second, true);
  if (whole.tokens.length <= maxLength) return whole;
  const special = whole.tokens.length - first.length - (second?.length ?? 0);
  const [a, b] = cut(first.length, second?.length ?? 0, Math.max(maxLength - special, 0));
  return template(first.slice(0, a), second && second.slice(0, b), true);
}

/** How much of two lengths to keep, `room` together: the longer one is cut first. */
function cut(first: number, second: number, room: number): [number, number] {
  const shorter = Math.min(first, second);
  let [a, b] = [shorter, Math.max(shorter, room - shorter)];
  if (a + b > room) [a, b] = [Math.floor(room / 2), Math.ceil(room / 2)];
  return first <= second ? [a, b] : [b, a];
}

function padded(tokenizer: Tokenizer, rows: readonly Encoded[], padId: number): RunInputs {
  const tokens = Math.max(1, ...rows.map((row) => row.tokens.length));
  const size = rows.length * tokens;
  const ids = new Int32Array(size).fill(padId);
  const mask = new Int32Array(size);
  const types = new Int32Array(size);
  const unknown = (tokenizer.model as { unk_token_id?: number } | null)?.unk_token_id ?? padId;
  rows.forEach((row, i) => {
    row.tokens.forEach((token, j) => {
      const at = i * tokens + j;
      ids[at] = tokenizer.token_to_id(token) ?? unknown;
      mask[at] = 1;
      types[at] = row.token_type_ids?.[j] ?? 0;
    });
  });
  return {
    dims: [rows.length, tokens],
    input_ids: ids,
    attention_mask: mask,
    token_type_ids: types,
  };
}
