/** The tables that coded integers begin with: numbers of few bytes, and scales on a grid. */

import { type BundleError, bundleError } from "./errors.js";
import { isGridIndex, scaleAt } from "./scales.js";

const MAX_DIMENSION = 65535;

/** Reads a table from its first byte on; every function throws BundleError `bundle.coded-table`. */
export interface TableReader {
  /** A number of up to four bytes, which must be as few as it needs. */
  varint(): number;
  /** A number of a matrix or a vector, 1 … 65535. */
  dimension(): number;
  /** The grid index of a scale, or `none`. */
  gridIndex(none?: number): number;
  /** A group of `count` scales. */
  scales(count: number): Float32Array;
  /** What follows all that was read. */
  rest(): Uint8Array;
}

export function tableReader(tensor: Uint8Array): TableReader {
  let at = 0;
  const take = (count: number): Uint8Array => {
    if (count > tensor.length - at) throw malformed("it ends too early");
    return tensor.subarray(at, (at += count));
  };
  const varint = (): number => {
    let number = 0;
    for (let i = 0; i < 4; i++) {
      const byte = take(1)[0] as number;
      number += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) {
        if (i > 0 && byte === 0) break;
        return number;
      }
    }
    throw malformed("a number too long");
  };
  const gridIndex = (none?: number): number => {
    const [low, high] = take(2) as unknown as [number, number];
    const index = ((low | (high << 8)) << 16) >> 16;
    if (index !== none && !isGridIndex(index)) throw malformed(`a scale of 2^(${index}/16)`);
    return index;
  };
  return {
    varint,
    dimension: () => {
      const number = varint();
      if (number < 1 || number > MAX_DIMENSION) throw malformed(`${number} rows or columns`);
      return number;
    },
    gridIndex,
    scales: (count) => {
      const top = gridIndex();
      const below = take(count);
      if (!below.includes(0)) throw malformed("no scale is the largest");
      return Float32Array.from(below, (b) => scaleAt(top - b));
    },
    rest: () => tensor.subarray(at),
  };
}

export function malformed(what: string): BundleError {
  return bundleError("coded-table", `malformed: ${what}`);
}
