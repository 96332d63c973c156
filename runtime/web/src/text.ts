/**
 * Text in, token ids out, by the package `@huggingface/tokenizers` (an optional peer).
 *
 * Apart from the core, so that an application with a tokenizer of its own does not carry it.
 */

import { Tokenizer } from "@huggingface/tokenizers";
import { BaseError, baseError, inputError, reasonOf, taskError } from "./errors.js";
import type { BaseManifest } from "./manifest.js";
import { usedTexts } from "./long-texts.js";
import { placedTokens, wordRules } from "./placed.js";
import type { TaskText } from "./task-text.js";
import {
  padded,
  type PlacedToken,
  type TextEncoding,
  type TextWindow,
  type TokenRow,
} from "./text-encoding.js";

/** What a tokenizer puts around a text, or around two of them. */
interface Template {
  readonly before: TokenRow;
  readonly between: TokenRow;
  readonly after: TokenRow;
  /** Types of the two texts' tokens. */
  readonly types: readonly [number, number];
  /** Special tokens, in all. */
  readonly special: number;
}

const STRIDE = 128;
const MOST_PROMPT = 4096; // characters, which are tokenized with every text
const LONE_SURROGATE = /\p{Surrogate}/u; // with the u flag, a pair is one code point

/**
 * An encoder for the base's `tokenizer.json`: the option `encoder` of `EdgeSession.create`.
 *
 * Throws BaseError `base.text` where the tokenizer cannot be read.
 */
export function textEncoder(tokenizerJson: string, manifest: BaseManifest): TextEncoding {
  const text = manifest.text;
  if (text === null) {
    throw baseError("text", "it was exported from a model without a tokenizer");
  }
  try {
    const json = JSON.parse(tokenizerJson) as object;
    return new Encoder(new Tokenizer(json, {}), json, text.maxLength, text.padId, {});
  } catch (error) {
    throw baseError("text", `cannot read tokenizer.json (${reasonOf(error)})`);
  }
}

class Encoder implements TextEncoding {
  readonly #single: Template;
  readonly #pair: Template;

  constructor(
    readonly tokenizer: Tokenizer,
    readonly json: Parameters<typeof wordRules>[0],
    readonly limit: number,
    readonly padId: number,
    /** Of the tasks whose texts it takes. */
    readonly text: TaskText,
  ) {
    this.#single = this.#template(false);
    this.#pair = this.#template(true);
  }

  of(text: TaskText): TextEncoding {
    const { prompt = "" } = text;
    // In characters, of which one may take two of JavaScript's.
    if (prompt.length > 2 * MOST_PROMPT || [...prompt].length > MOST_PROMPT) {
      throw taskError("needs", `its prompt has more than ${MOST_PROMPT} characters`);
    }
    return new Encoder(this.tokenizer, this.json, this.limit, this.padId, text);
  }

  encode(
    texts: readonly string[],
    pairs?: readonly string[],
    maxLength?: number,
  ): ReturnType<TextEncoding["encode"]> {
    checkTexts(texts, pairs);
    const most = this.#lengthWithin(maxLength);
    const { prompt = "", truncation } = this.text;
    const count = (text: string): number => this.#idsOf(text).length;
    const rows = texts.map((one, i) => {
      const [text, pair] = usedTexts(prompt + one, pairs?.[i], most, truncation, count);
      const first = this.#idsOf(text);
      if (pair === undefined) {
        const room = Math.max(most - this.#single.special, 0);
        return joined(this.#single, kept(first, room, truncation), []);
      }
      const second = this.#idsOf(pair);
      const room = Math.max(most - this.#pair.special, 0);
      const [a, b] =
        first.length + second.length <= room
          ? [first.length, second.length]
          : cut(first.length, second.length, room);
      return joined(this.#pair, kept(first, a, truncation), kept(second, b, truncation));
    });
    return padded(rows, this.padId);
  }

  windows(
    text: string,
    question: string | null,
    options: { readonly maxLength?: number | undefined; readonly stride?: number | undefined },
  ): TextWindow[] {
    const { stride: wanted = STRIDE } = options;
    checkTexts([text, ...(question === null ? [] : [question])]);
    const maxLength = this.#lengthWithin(options.maxLength);
    if (!(Number.isInteger(wanted) && wanted >= 0)) {
      throw inputError("stride", `expected a stride of 0 or more, found ${wanted}`);
    }
    const stride = Math.min(wanted, Math.floor(maxLength / 2));
    const template = question === null ? this.#single : this.#pair;
    const asked = question === null ? [] : this.#idsOf(question);
    const room = maxLength - template.special - asked.length;
    const placed = placedTokens(this.tokenizer, wordRules(this.json), text);
    const ids = placed.map(({ token }) => this.#id(token));
    if (ids.join() !== this.#idsOf(text).join()) {
      throw baseError("text", "tokens of this kind of tokenizer cannot be placed in a text");
    }
    if (question === null ? placed.length > room && room <= stride : room <= stride) {
      throw inputError(
        "max-length",
        `${maxLength - room} tokens beside the text leave a window of ${maxLength} no room`,
      );
    }
    return ranges(ids.length, room, stride, this.text.truncation).map(([begin, end]) => {
      const part = ids.slice(begin, end);
      const row = question === null ? joined(template, part, []) : joined(template, asked, part);
      const at = row.ids.length - template.after.ids.length - part.length;
      const tokens: (PlacedToken | null)[] = row.ids.map(() => null);
      part.forEach((_, i) => {
        const { start, end, word } = placed[begin + i] as PlacedToken;
        tokens[(question === null ? template.before.ids.length : at) + i] = { start, end, word };
      });
      return { ...row, tokens };
    });
  }

  /** The least of `maxLength`, where it is given, and of what the task and the base take. */
  #lengthWithin(maxLength: number = this.limit): number {
    if (!(Number.isInteger(maxLength) && maxLength >= 1 && maxLength <= this.limit)) {
      throw inputError(
        "max-length",
        `expected 1 to ${this.limit} tokens, found ${maxLength}`,
      );
    }
    return Math.min(maxLength, this.text.max_length ?? maxLength);
  }

  #idsOf(text: string): number[] {
    if (text === "") return [];
    return this.#tokensOf(text).map((token) => this.#id(token));
  }

  /** Tokens of one text; with its template left out the package gives those of the text alone. */
  #tokensOf(text: string): string[] {
    return this.tokenizer.tokenize(text, { add_special_tokens: false });
  }

  #id(token: string): number {
    const unknown = (this.tokenizer.model as { unk_token_id?: number } | null)?.unk_token_id;
    return this.tokenizer.token_to_id(token) ?? unknown ?? this.padId;
  }

  /** What is put around texts, seen by what is put around two that are no tokens. */
  #template(pair: boolean): Template {
    const [first, second] = ["\u0000first", "\u0000second"];
    const process = this.tokenizer.post_processor as unknown as
      | ((
          first: string[],
          second: string[] | null,
          special: boolean,
        ) => { tokens: string[]; token_type_ids?: number[] })
      | null;
    const { tokens, token_type_ids } =
      process === null
        ? { tokens: pair ? [first, second] : [first], token_type_ids: [] }
        : process([first], pair ? [second] : null, true);
    // RoBERTa's knows one type alone; the package gives two.
    const roberta = this.json.post_processor?.type === "RobertaProcessing";
    const types = (roberta ? null : token_type_ids) ?? [];
    const a = tokens.indexOf(first);
    const b = pair ? tokens.indexOf(second) : a;
    if (a < 0 || b < a) {
      throw new BaseError("base.text", "a tokenizer with a template of another kind");
    }
    const part = (begin: number, end?: number): TokenRow => {
      const ids = tokens.slice(begin, end).map((token) => this.#id(token));
      return { ids, types: ids.map((_, i) => types[begin + i] ?? 0) };
    };
    return {
      before: part(0, a),
      between: part(a + 1, pair ? b : a + 1),
      after: part(b + 1),
      types: [types[a] ?? 0, types[b] ?? 0],
      special: tokens.length - (pair ? 2 : 1),
    };
  }
}

function joined(
  { before, between, after, types }: Template,
  first: readonly number[],
  second: readonly number[],
): TokenRow {
  const of = (ids: readonly number[], type: number): TokenRow => ({
    ids,
    types: ids.map(() => type),
  });
  const parts = [before, of(first, types[0]), between, of(second, types[1]), after];
  return {
    ids: parts.flatMap(({ ids }) => ids),
    types: parts.flatMap((row) => row.types),
  };
}

function checkTexts(texts: readonly string[], pairs?: readonly string[]): void {
  const all = [...texts, ...(pairs ?? [])];
  if (!Array.isArray(texts) || texts.length === 0 || all.some((one) => typeof one !== "string")) {
    throw inputError("texts", "expected a list of one or more texts");
  }
  if (all.some((one) => LONE_SURROGATE.test(one))) {
    throw inputError("texts", "a text is not valid Unicode");
  }
  if (pairs !== undefined && pairs.length !== texts.length) {
    throw inputError("texts", `${texts.length} texts, but ${pairs.length} second texts`);
  }
}

/** The `room` outermost of `ids`, on the side that is not cut. */
function kept(ids: readonly number[], room: number, side: TaskText["truncation"]): number[] {
  return side === "left" ? ids.slice(Math.max(ids.length - room, 0)) : ids.slice(0, room);
}

/** Where windows of `room` tokens begin and end in so many: from the side that is not cut on. */
function ranges(
  tokens: number,
  room: number,
  stride: number,
  side: TaskText["truncation"],
): [number, number][] {
  const found: [number, number][] = [];
  for (let at = 0; ; at += room - stride) {
    const end = Math.min(at + room, tokens);
    found.push(side === "left" ? [tokens - end, tokens - at] : [at, end]);
    if (end === tokens) return found;
  }
}

/** How much of two lengths to keep, `room` together: the longer one is cut first. */
function cut(first: number, second: number, room: number): [number, number] {
  const shorter = Math.min(first, second);
  let [a, b] = [shorter, Math.max(shorter, room - shorter)];
  if (a + b > room) [a, b] = [Math.floor(room / 2), Math.ceil(room / 2)];
  return first <= second ? [a, b] : [b, a];
}
