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
// What text that is JSON is made of, but for commas, colons and white space.
const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{}]|[^\s,:[\]{}"]+/g;
const INTEGER = /^(?:0|-?[1-9]\d{0,14})$/;
const LONE_SURROGATE = /\p{Surrogate}/u; // with the u flag, a pair is one code point

/** The value of strict JSON `text`; throws SyntaxError for anything else. */
export function parseJson(text: string): Json {
  JSON.parse(text); // refuses all that is no JSON, so that what follows need not
  const tokens = text.matchAll(TOKEN);
  const next = (): string => (tokens.next().value as RegExpExecArray)[0];
  const check = (holds: boolean, problem: string): void => {
    if (!holds) throw new SyntaxError(problem);
  };
  const value = (token: string, depth: number): Json => {
    check(depth < MAX_DEPTH, "nested too deeply");
    if (token === "{") {
      const result: JsonObject = new Map();
      for (let key = next(); key !== "}"; key = next()) {
        const name = value(key, depth) as string;
        check(!result.has(name), "a key stands twice");
        result.set(name, value(next(), depth + 1));
      }
      return result;
    }
    if (token === "[") {
      const result: Json[] = [];
      for (let item = next(); item !== "]"; item = next()) result.push(value(item, depth + 1));
      return result;
    }
    const scalar = JSON.parse(token) as string | number | boolean | null;
    check(!isString(scalar) || !LONE_SURROGATE.test(scalar), "half a surrogate pair");
    return typeof scalar === "number" && !INTEGER.test(token) ? new Decimal(scalar) : scalar;
  };
  return value(next(), 0);
}

export const isString = (value: unknown): value is string => typeof value === "string";
export const isList: (value: unknown) => value is Json[] = Array.isArray;
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
