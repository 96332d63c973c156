/**
 * Rows of small integers from bytes near their entropy; docs/bundle-format.md, "Stream".
 *
 * The stream: a class byte for each row; log₂ of the number of lanes; the lanes' states; their
 * words; then what is left of the raw bits after the lanes' last states have given theirs.
 */

import {
  decodingTable,
  DIGITS,
  ESCAPE,
  patternFrequencies,
  tailFrequencies,
  TAILS,
} from "./code-classes.js";
import { type BundleError, bundleError } from "./errors.js";
import { LaneDecoder, LOWEST, MAX_LANES_LOG2 } from "./rans.js";
import { sum } from "./values.js";

export type Integers = Int8Array | Int32Array;

/** How many rows a block has, and how many integers each of them. */
export type BlockShape = readonly [rows: number, width: number];

const GROUP = 4;
const MAX_GROUPS_PER_BYTE = 512; // a symbol takes at least 0.026 bits
const MAX_STEPS = 1024; // of patterns, where more lanes are possible

/**
 * The blocks that `data` holds, row by row.
 *
 * Throws BundleError: `bundle.coded-size` where `data` cannot hold so many slots, before anything
 * is allocated for them, `bundle.coded-stream` where it is malformed.
 */
export function decodeRows(data: Uint8Array, shapes: readonly BlockShape[]): Integers[] {
  const rows = sum(shapes.map(([count]) => count));
  const groups = sum(shapes.map(([count, width]) => count * groupsOf(width)));
  if (rows >= data.length || groups > MAX_GROUPS_PER_BYTE * data.length) {
    throw bundleError("coded-size", `${data.length} bytes for ${rows} rows, ${groups} groups`);
  }
  const classes = data.subarray(0, rows);
  const log2 = data[rows] as number;
  const lanes = 2 ** log2;
  const body = data.subarray(rows + 1);
  if (log2 > MAX_LANES_LOG2 || body.length < 4 * lanes) throw malformed("lanes");
  if (groups > MAX_STEPS * lanes && log2 < MAX_LANES_LOG2) throw malformed("lanes");
  const states = new Uint32Array(body.slice(0, 4 * lanes).buffer);
  if (states.some((state) => state < LOWEST)) throw malformed("lanes");
  const rest = body.subarray(4 * lanes);
  const decoder = new LaneDecoder(states, rest);
  const slots = new Int8Array(GROUP * groups);
  const nonzeros = takePatterns(decoder, classes, shapes, slots);
  const escapes = takeTails(decoder, classes, shapes, slots);
  const integers = escapes === 0 ? slots : Int32Array.from(slots);
  applyRaw(integers, nonzeros, escapes, states, rest.subarray(2 * decoder.at));
  return split(integers, shapes);
}

/** Groups of a row of `width` integers. */
function groupsOf(width: number): number {
  return Math.ceil(width / GROUP);
}

/** Call `each` with every row's groups `begin` to `end`, and the table of its class's `bits`. */
function eachRow(
  classes: Uint8Array,
  shapes: readonly BlockShape[],
  bits: number,
  frequencies: (code: number) => number[],
  each: (table: Uint32Array, begin: number, end: number) => void,
): void {
  const tables: Uint32Array[] = [];
  let row = 0;
  let group = 0;
  for (const [rows, width] of shapes) {
    const groups = groupsOf(width);
    for (let i = 0; i < rows; i++, group += groups) {
      const code = (classes[row++] as number) & bits;
      each((tables[code] ??= decodingTable(frequencies(code))), group, group + groups);
    }
  }
}

/** Write the slots of all rows, 2 for more than 1; returns how many are not zero. */
function takePatterns(
  decoder: LaneDecoder,
  classes: Uint8Array,
  shapes: readonly BlockShape[],
  slots: Int8Array,
): number {
  let nonzeros = 0;
  decoder.restart();
  eachRow(classes, shapes, 255, patternFrequencies, (table, begin, end) => {
    for (let group = begin; group < end; group++) {
      const pattern = (decoder.next(table) >>> 12) & 127;
      if (pattern === 0) continue;
      for (let i = 0; i < GROUP; i++) {
        const digit = DIGITS[GROUP * pattern + i] as number;
        slots[GROUP * group + i] = digit;
        if (digit !== 0) nonzeros++;
      }
    }
  });
  return nonzeros;
}

/** Put magnitudes in the place of every 2 in `slots`; returns how many escape (then 17). */
function takeTails(
  decoder: LaneDecoder,
  classes: Uint8Array,
  shapes: readonly BlockShape[],
  slots: Int8Array,
): number {
  let escapes = 0;
  decoder.restart();
  eachRow(classes, shapes, 7, tailFrequencies, (table, begin, end) => {
    for (let slot = GROUP * begin; slot < GROUP * end; slot++) {
      if (slots[slot] !== 2) continue;
      const tail = (decoder.next(table) >>> 12) & (TAILS - 1);
      if (tail === ESCAPE) escapes++;
      slots[slot] = 2 + tail;
    }
  });
  return escapes;
}

/** Put signs and escapes, from the lanes' last states and then `rest`, into `integers`. */
function applyRaw(
  integers: Integers,
  nonzeros: number,
  escapes: number,
  states: Uint32Array,
  rest: Uint8Array,
): void {
  const count = nonzeros + 16 * escapes;
  const held = sum(states.map(topBit));
  if (rest.length !== Math.ceil(Math.max(count - held, 0) / 8)) throw malformed("its length");
  const raw = rawBits(states, rest, held);
  if (raw.subarray(count).includes(1)) throw malformed("its last bits");
  let sign = 0;
  let extra = nonzeros;
  for (let i = 0; i < integers.length; i++) {
    let value = integers[i] as number;
    if (value === 0) continue;
    if (value === 2 + ESCAPE) {
      for (let b = 0; b < 16; b++) value += (raw[extra++] as number) * 2 ** b;
    }
    integers[i] = raw[sign++] === 1 ? -value : value;
  }
}

/** The bits that states hold below their top bit, `held` in all, then those of `rest`. */
function rawBits(states: Uint32Array, rest: Uint8Array, held: number): Uint8Array {
  const bits = new Uint8Array(held + 8 * rest.length);
  let at = 0;
  const put = (word: number, count: number): void => {
    for (let b = 0; b < count; b++) bits[at++] = (word >>> b) & 1;
  };
  for (const state of states) put(state, topBit(state));
  for (const byte of rest) put(byte, 8);
  return bits;
}

function topBit(state: number): number {
  return 31 - Math.clz32(state);
}

/** Each block without the slots that fill up its rows. */
function split(integers: Integers, shapes: readonly BlockShape[]): Integers[] {
  let at = 0;
  return shapes.map(([rows, width]) => {
    const filled = GROUP * groupsOf(width);
    const whole = integers.subarray(at, at + rows * filled);
    at += rows * filled;
    if (filled === width) return whole;
    const block = whole.slice(0, rows * width);
    for (let row = 0; row < rows; row++) {
      const begin = row * filled;
      const own = begin + width;
      if (whole.subarray(own, begin + filled).some(Boolean)) throw malformed("a row is too long");
      block.set(whole.subarray(begin, own), row * width);
    }
    return block;
  });
}

function malformed(what: string): BundleError {
  return bundleError("coded-stream", `malformed: ${what}`);
}
