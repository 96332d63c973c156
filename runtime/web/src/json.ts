/**
 * Strict JSON. `JSON.parse` will not do for a file that may be hostile: it keeps the last of two
 * equal keys, takes 1.0 for 1 and -0 for 0, accepts half a surrogate pair, and nests without end.
 */

/** A JSON object; a Map, so that no key, `__proto__` included, is special. */
export type JsonObject = Map<string, Json>;
export type Json = null | boolean | number | Decimal | string | Json[] | JsonObject;

/** A number that is not written as an integer of up to 15 digits: 1.0, 1e3, -0, or a longer one. */
export class Decimal {
  constructor(readonly value: number) {}
}

const MAX_DEPTH = 100; // nothing valid nests deeper than 4 levels
// A string, a number, a word or a punctuation mark, and the white space around it.
const TOKEN =
  /[ \t\n\r]*("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[[\]{},:])[ \t\n\r]*/y;
const INTEGER = /^(?:0|-?[1-9]\d{0,14})$/;
const LONE_SURROGATE = /\p{Surrogate}/u; // with the u flag, a pair is one code point

/** The value of strict JSON `text`; throws SyntaxError for anything else. */
export function parseJson(text: string): Json {
  let at = 0;

  /** The next token, "" where there is none; `expected` where only that may stand. */
  const next = (expected?: string): string => {
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(text);
    const token = found?.[1] ?? "";
    if (expected !== undefined && token !== expected) throw problem(`expected ${expected}`);
    at += found?.[0].length ?? 0;
    return token;
  };
  const problem = (what: string): SyntaxError => new SyntaxError(`${what} at character ${at}`);

  /** Call `item` for each item of a list or object, up to the mark `end`; `first` begins it. */
  const items = (end: string, item: (first: string) => void): void => {
    let token = next();
    if (token === end) return;
    for (;;) {
      item(token);
      const mark = next();
      if (mark === end) return;
      if (mark !== ",") throw problem(`expected , or ${end}`);
      token = next();
    }
  };

  const value = (token: string, depth: number): Json => {
    if (depth > MAX_DEPTH) throw problem("nested too deeply");
    if (token === "{") {
      const result: JsonObject = new Map();
      items("}", (first) => {
        const key = value(first, depth + 1);
        if (typeof key !== "string" || result.has(key)) throw problem("a bad key");
        next(":");
        result.set(key, value(next(), depth + 1));
      });
      return result;
    }
    if (token === "[") {
      const result: Json[] = [];
      items("]", (first) => result.push(value(first, depth + 1)));
      return result;
    }
    if (!/^["\-\dtfn]/.test(token)) throw problem("not JSON");
    const scalar = JSON.parse(token) as string | number | boolean | null;
    if (typeof scalar === "string" && LONE_SURROGATE.test(scalar)) {
      throw problem("half a surrogate pair");
    }
    return typeof scalar === "number" && !INTEGER.test(token) ? new Decimal(scalar) : scalar;
  };

  const result = value(next(), 0);
  if (at < text.length) throw problem("more text");
  return result;
}

export const isString = (value: unknown): value is string => typeof value === "string";
export const isList = (value: unknown): value is Json[] => Array.isArray(value);
export const isObject = (value: unknown): value is JsonObject => value instanceof Map;

/** The values of `keys` where `value` is an object that has just these; else none. */
export function valuesOf(value: Json, ...keys: string[]): Json[] {
  const exact = isObject(value) && value.size === keys.length && keys.every((key) => value.has(key));
  return exact ? keys.map((key) => value.get(key) as Json) : [];
}

/** A guard for one of `known`. */
export const isOneOf =
  <T extends string>(known: readonly T[]) =>
  (value: unknown): value is T =>
    known.includes(value as T);

/** A guard for integers from `least` to below `end`. */
export const isWithin =
  (least: number, end: number) =>
  (value: unknown): value is number =>
    typeof value === "number" && value >= least && value < end;
