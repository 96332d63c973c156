/** A task's probe, the metadata value `osd.probe`: a few inputs with the answers they must give. */

import { checkBundle } from "./errors.js";
import { Decimal, isList, isObject, isString, isWithin, type Json, valuesOf } from "./json.js";

/** One input of a probe, and what it must give; docs/bundle-format.md, "Probe". */
export interface ProbeCase {
  readonly text?: string;
  readonly pair?: string;
  /** Token ids of an input without padding. */
  readonly ids?: readonly number[];
  /** The number from which a picture is drawn. */
  readonly seed?: number;
  /** The first logits, row by row, that the input gives. */
  readonly logits?: readonly number[];
  /** The first tokens that a task that generates answers, where the likeliest is always taken. */
  readonly tokens?: readonly number[];
}

/** Inputs with expected answers; a logit may be off by `tolerance` · max(1, |logit|). */
export interface Probe {
  readonly tolerance: number;
  readonly cases: readonly ProbeCase[];
}

const MAX_CASES = 16;
const MOST = 65535; // of ids, of logits, of a seed

/**
 * Check what `osd.probe` holds: cases with `answer`, of logits at most `outputs` (0: any number).
 *
 * Throws BundleError `bundle.probe`.
 */
export function checkProbe(given: Json, answer: "logits" | "tokens", outputs: number): void {
  const ids = list(MOST, isWithin(0, 2 ** 31));
  const forms: Readonly<Record<string, (value: Json) => boolean>> = {
    text: isString,
    pair: isString,
    ids,
    tokens: ids,
    seed: isWithin(0, MOST + 1),
    logits: list(outputs || MOST, (value) => isFinite(numberOf(value))),
  };
  const isCase = (value: Json): boolean =>
    ["text", "text pair", "ids", "seed"].some(
      (keys) => valuesOf(value, answer, ...keys.split(" ")).length > 0,
    ) &&
    isObject(value) &&
    [...value].every(([key, part]) => forms[key]?.(part));
  const [tolerance, cases] = valuesOf(given, "tolerance", "cases");
  const size = numberOf(tolerance);
  const fits = size > 0 && size <= 1 && list(MAX_CASES, isCase)(cases);
  checkBundle("probe", fits, "osd.probe is malformed");
}

/** A guard for a list of 1 to `most` items that `fits`. */
function list(most: number, fits: (value: Json) => boolean) {
  return (value: Json | undefined): boolean =>
    isList(value) && value.length > 0 && value.length <= most && value.every(fits);
}

/** A number however it is written; NaN for anything else. */
function numberOf(value: Json | undefined): number {
  const number = value instanceof Decimal ? value.value : value;
  return typeof number === "number" ? number : NaN;
}
