/**
 * Rows of small integers from bytes near their entropy; docs/bundle-format.md, "Stream".
 *
 * The stream: a class byte for each row; log₂ of the number of lanes; the lanes' states; their
 * words; then what is left of the raw bits after the lanes' last states have given theirs.
 */

import type { MatrixShape } from "./bundle.js";
import {
  decodingTable,
  DIGITS,
  ESCAPE,
  patternFrequencies,
  tailFrequencies,
  TAILS,
} from "./code-classes.js";
import { type BundleError, bundleError } from "./errors.js";
import { laneDecoder, LOWEST, MAX_LANES_LOG2 } from "./rans.js";
import { sum } from "./values.js";

export type Integers = Int8Array | Int32Array;

const GROUP = 4;
const MAX_STEPS = 1024; // of patterns, where more lanes are possible

/**
 * The blocks that `data` holds, row by row: Int8Array, or Int32Array where an integer needs it.
 *
 * They are views of one array, which takes a byte for each slot, or four; five while escapes are
 * read. A few bytes may have many slots: whoever calls bounds their number. Throws BundleError:
 * `bundle.coded-size` where `data` cannot hold so many rows, `bundle.coded-stream` where it is
 * malformed, `bundle.coded-zero` where a row of the first `nonzero` blocks has zeros alone.
 */
export function decodeRows(
  data: Uint8Array,
  shapes: readonly MatrixShape[],
  nonzero: number,
): Integers[] {
  const rows = sum(shapes.map(([count]) => count));
  const groups = sum(shapes.map(([count, width]) => count * groupsOf(width)));
  if (rows >= data.length) throw bundleError("coded-size", `${data.length} bytes for ${rows} rows`);
  const log2 = data[rows] as number;
  const lanes = 2 ** log2;
  const body = data.subarray(rows + 1);
  if (
    log2 > MAX_LANES_LOG2 ||
    body.length < 4 * lanes ||
    (groups > MAX_STEPS * lanes && log2 < MAX_LANES_LOG2)
  ) {
    throw malformed("lanes");
  }
  const states = new Uint32Array(body.slice(0, 4 * lanes).buffer);
  if (states.some((state) => state < LOWEST)) throw malformed("states");
  const decoder = laneDecoder(states, body.subarray(4 * lanes));
  const slots = new Int8Array(GROUP * groups);
  let nonzeros = 0;
  let escapes = 0;

  /** Call `each` with every row's groups `begin` to `end`, and the table of its class's `bits`. */
  const eachRow = (
    bits: number,
    frequencies: (code: number) => number[],
    each: (table: Uint32Array, begin: number, end: number) => void,
  ): void => {
    const tables: Uint32Array[] = [];
    let row = 0;
    let group = 0;
    for (const [count, width] of shapes) {
      for (const end = row + count; row < end; row++) {
        const code = (data[row] as number) & bits;
        tables[code] ??= decodingTable(frequencies(code));
        each(tables[code], group, (group += groupsOf(width)));
      }
    }
  };

  let next = decoder.part();
  eachRow(255, patternFrequencies, (table, begin, end) => {
    for (let group = begin; group < end; group++) {
      const pattern = (next(table) >>> 12) & 127;
      if (pattern === 0) continue;
      for (let i = 0; i < GROUP; i++) {
        const digit = DIGITS[GROUP * pattern + i] as number;
        slots[GROUP * group + i] = digit; // 2 for more than 1
        if (digit !== 0) nonzeros++;
      }
    }
  });
  next = decoder.part();
  eachRow(7, tailFrequencies, (table, begin, end) => {
    for (let slot = GROUP * begin; slot < GROUP * end; slot++) {
      if (slots[slot] !== 2) continue;
      const tail = (next(table) >>> 12) & (TAILS - 1);
      if (tail === ESCAPE) escapes++;
      slots[slot] = 2 + tail;
    }
  });

  const integers = escapes > 0 ? new Int32Array(slots) : slots;
  applyRaw(integers, nonzeros, escapes, states, decoder.rest());
  const blocks = closed(integers, shapes);
  blocks.slice(0, nonzero).forEach((block, i) => {
    const [, width] = shapes[i] as MatrixShape;
    for (let at = 0; at < block.length; at += width) {
      if (isZero(block, at, at + width)) throw bundleError("coded-zero", "a row of zeros");
    }
  });
  return blocks;
}

/** Groups of a row of `width` integers. */
function groupsOf(width: number): number {
  return Math.ceil(width / GROUP);
}

function isZero(integers: Integers, begin: number, end: number): boolean {
  let at = begin;
  while (at < end && integers[at] === 0) at++;
  return at === end;
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

/** Each block, its rows moved up to close the gaps that were filled up: no copy of so many slots. */
function closed(integers: Integers, shapes: readonly MatrixShape[]): Integers[] {
  let from = 0;
  let to = 0;
  return shapes.map(([rows, width]) => {
    const begin = to;
    for (let row = 0; row < rows; row++) {
      const end = from + width;
      integers.copyWithin(to, from, end);
      from += GROUP * groupsOf(width);
      if (!isZero(integers, end, from)) throw malformed("a row is too long");
      to += width;
    }
    return integers.subarray(begin, to);
  });
}

function malformed(what: string): BundleError {
  return bundleError("coded-stream", `malformed: ${what}`);
}
