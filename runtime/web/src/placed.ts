/**
 * The tokens of a text with where each stands in it, which `@huggingface/tokenizers` does not tell.
 *
 * Text is cut as that package cuts it (added tokens, normaliser, words, the model's tokens), and
 * the place of each part is kept on the way. Places are those of Python's `tokenizers`.
 */

import type { Tokenizer } from "@huggingface/tokenizers";
import { normalised, type Normalised } from "./normalised.js";
import type { PlacedToken } from "./text-encoding.js";

/** What a tokenizer.json says of how its words come from text. */
export interface WordRules {
  /** Words are bytes, each written as a character. */
  readonly bytes: boolean;
  /** Spaces are marked in words, or left out before that. */
  readonly marks: boolean;
  readonly dropsSpaces: boolean;
  /** Spaces at the ends of a token are not of its place, but for one that may have been put first. */
  readonly trims: boolean;
  readonly putsSpaceFirst: boolean;
  /** Begins a token that goes on with a word. */
  readonly goesOn: string;
}

export type TokenOfText = PlacedToken & { readonly token: string };

/** What is used of an added token. */
interface AddedToken {
  readonly content: string;
  readonly normalized: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** Part of a text: an added token, or what stands between them. */
interface Section {
  readonly text: string;
  readonly at: number;
  readonly added: AddedToken | null;
}

const MARK = "\u2581"; // in the place of a space

interface Step {
  readonly type?: string;
  readonly pretokenizers?: readonly Step[];
  readonly processors?: readonly Step[];
  readonly trim_offsets?: boolean;
  readonly add_prefix_space?: boolean;
}

/** The rules of a parsed `tokenizer.json`. */
export function wordRules(json: {
  readonly pre_tokenizer?: Step | null;
  readonly post_processor?: Step | null;
  readonly model?: { readonly continuing_subword_prefix?: string | null };
}): WordRules {
  const steps = flat(json.pre_tokenizer);
  const has = (...types: string[]): boolean => steps.some(({ type }) => types.includes(type ?? ""));
  const trim = flat(json.post_processor).find(({ type }) =>
    ["ByteLevel", "RobertaProcessing"].includes(type ?? ""),
  );
  return {
    bytes: has("ByteLevel"),
    marks: has("Metaspace"),
    dropsSpaces: has("WhitespaceSplit", "Whitespace", "BertPreTokenizer"),
    trims: trim !== undefined && trim.trim_offsets !== false,
    putsSpaceFirst: trim?.add_prefix_space !== false,
    goesOn: json.model?.continuing_subword_prefix ?? "",
  };
}

function flat(step: Step | null | undefined): readonly Step[] {
  const inner = step?.pretokenizers ?? step?.processors;
  return inner === undefined ? (step ? [step] : []) : inner.flatMap(flat);
}

/** The tokens of `text`, special ones left out. */
export function placedTokens(tokenizer: Tokenizer, rules: WordRules, text: string): TokenOfText[] {
  const added: AddedToken[] = [...tokenizer.get_added_tokens_decoder().values()];
  const { normalizer } = tokenizer;
  const normalise = normalizer as unknown as ((text: string) => string) | null;
  const late = (token: AddedToken): boolean => token.normalized && normalise !== null;
  const early = added.filter((token) => !late(token)).map((token) => [token.content, token] as const);
  const later = added
    .filter(late)
    .map((token) => [(normalise as (text: string) => string)(token.content), token] as const);
  const result: TokenOfText[] = [];
  let word = 0;
  sections(text, early).forEach((section, i) => {
    if (section.added !== null) {
      const { at, added: token } = section;
      const end = at + section.text.length;
      result.push({ token: token.content, start: at, end, word: word++ });
      return;
    }
    const whole = normalised(section.text, normalise);
    const inText = (begin: number, end: number): [number, number] =>
      place(whole, begin, end).map((x) => section.at + x) as [number, number];
    for (const part of sections(whole.text, later)) {
      if (part.added !== null) {
        const [start, end] = inText(part.at, part.at + part.text.length);
        result.push({ token: part.added.content, start, end, word: word++ });
        continue;
      }
      for (const { tokens, spans } of words(tokenizer, rules, part.text, i)) {
        tokens.forEach((token, j) => {
          const [begin, over] = spans[j] as [number, number];
          const [start, end] = inText(part.at + begin, part.at + over);
          result.push({ token, start, end, word });
        });
        word++;
      }
    }
  });
  return rules.trims ? result.map((token, i) => trimmed(text, token, i === 0, rules)) : result;
}

/** `text` cut at the added tokens that are in it, the longest first where several begin. */
function sections(text: string, added: readonly (readonly [string, AddedToken])[]): Section[] {
  const known = new Map(added);
  const contents = [...known.keys()].filter((content) => content !== "");
  contents.sort((a, b) => b.length - a.length);
  const escaped = contents.map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  const result: Section[] = [];
  let at = 0;
  const found =
    contents.length === 0 ? [] : text.matchAll(new RegExp(escaped.join("|"), "g"));
  for (const { 0: content, index } of found) {
    const token = known.get(content) as AddedToken;
    // Spaces that a token takes with it are of its place.
    const before = text.slice(at, index);
    const begin = token.lstrip ? at + before.trimEnd().length : index;
    const after = text.slice(index + content.length);
    const end = text.length - (token.rstrip ? after.trimStart() : after).length;
    result.push({ text: text.slice(at, begin), at, added: null });
    result.push({ text: text.slice(begin, end), at: begin, added: token });
    at = end;
  }
  result.push({ text: text.slice(at), at, added: null });
  return result;
}

/** Where characters `begin` to `end` of a normalised text come from; an empty range stays empty. */
function place(from: Normalised, begin: number, end: number): [number, number] {
  const start = from.starts[begin] ?? from.ends.at(-1) ?? 0;
  return [start, end > begin ? (from.ends[end - 1] as number) : start];
}

/** The words of a normalised part of a text: tokens, and their places in that part. */
function* words(
  tokenizer: Tokenizer,
  rules: WordRules,
  text: string,
  section: number,
): Generator<{ tokens: string[]; spans: [number, number][] }> {
  if (text === "") return;
  const split = tokenizer.pre_tokenizer as unknown as
    | ((text: string, options: object) => string[])
    | null;
  const model = tokenizer.model as unknown as (words: string[]) => string[];
  const found = split === null ? [text] : split(text, { section_index: section });
  let at = 0;
  for (const word of rules.marks ? found.flatMap((one) => one.split(/(?=\u2581)/)) : found) {
    const surface = surfaceOf(word, rules);
    const own = surface.replace(/^ /, ""); // without a space that may have been put first
    let lead = 0;
    let start = at;
    if (rules.dropsSpaces || !text.startsWith(surface, at)) {
      const bare = rules.marks || rules.bytes ? own : surface;
      lead = surface.length - bare.length;
      start = Math.max(text.indexOf(bare, at), at);
    }
    at = start + surface.length - lead;
    const tokens = model([word]);
    // What was put first stands where the first character does.
    const spans = spansOf(word, surface, tokens, rules).map(
      ([begin, end]): [number, number] => [
        start + Math.max(begin - lead, 0),
        start + Math.max(end - lead, Math.min(1, end)),
      ],
    );
    yield { tokens, spans };
  }
}

/** A word as it stands in the text. */
function surfaceOf(word: string, { bytes, marks }: WordRules): string {
  // With a byte order mark, which is part of the text.
  if (bytes) return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(word, byteOf));
  return marks ? word.replaceAll(MARK, " ") : word;
}

/** Where tokens stand in the surface of their word. */
function spansOf(
  word: string,
  surface: string,
  tokens: readonly string[],
  rules: WordRules,
): [number, number][] {
  const pieces = tokens.map((token, i) => pieceOf(token, i, rules));
  // Bytes stand for themselves, then are counted as the characters that they are part of.
  const whole = rules.bytes ? word : surface;
  const spans: [number, number][] = [];
  let at = 0;
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as string;
    if (piece !== "" && whole.startsWith(piece, at)) {
      spans.push([at, (at += piece.length)]);
      continue;
    }
    // Unknown characters, up to where a known token goes on; all such tokens have one place.
    let known = i + 1;
    let end = -1;
    for (; known < pieces.length && end < 0; known++) end = whole.indexOf(pieces[known]!, at);
    if (end < 0) end = whole.length;
    else known--;
    for (; i < known; i++) spans.push([at, end]);
    i--;
    at = end;
  }
  if (!rules.bytes) return spans;
  const edges = [{ byte: 0, unit: 0 }];
  let [byte, unit] = [0, 0];
  for (const character of surface) {
    byte += new TextEncoder().encode(character).length;
    unit += character.length;
    edges.push({ byte, unit });
  }
  return spans.map(([begin, end]) => [
    edges.filter(({ byte }) => byte <= begin).at(-1)!.unit,
    edges.find(({ byte }) => byte >= end)!.unit,
  ]);
}

function pieceOf(token: string, i: number, { bytes, marks, goesOn }: WordRules): string {
  if (bytes) return token;
  if (marks) return token.replaceAll(MARK, " ");
  return i > 0 && goesOn !== "" && token.startsWith(goesOn) ? token.slice(goesOn.length) : token;
}

/**
 * The byte that a character of a byte-level word stands for: printable ones for themselves, the
 * others, in order, for U+0100 and on.
 */
function byteOf(character: string): number {
  const point = character.codePointAt(0) as number;
  return point < 256 ? point : (HIDDEN[point - 256] as number);
}

const isShown = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
const HIDDEN = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !isShown(byte));

/** A token's place without spaces at its ends. */
function trimmed(text: string, token: TokenOfText, first: boolean, rules: WordRules): TokenOfText {
  const part = text.slice(token.start, token.end);
  const left = part.length - part.replace(/^ +/, "").length;
  const right = part.length - part.replace(/ +$/, "").length;
  const keeps = rules.putsSpaceFirst && (first || token.start === 0);
  const start = keeps ? token.start : Math.min(token.start + left, token.end);
  return { ...token, start, end: Math.max(token.end - right, start) };
}
