/** The tensor `osd.vectors`: what a task adds to biases and norms of its base. */

import type { MatrixShape } from "./bundle.js";
import { decodeRows, type Integers } from "./coded-rows.js";
import { malformed, tableReader } from "./table-reader.js";
import { scaled } from "./values.js";

/** A change of one of the base's vectors: its index in their table, and its length. */
export interface VectorFacts {
  readonly vector: number;
  readonly n: number;
}

export interface VectorsPart {
  readonly vectors: readonly VectorFacts[];
  /** Their rows, still as integers. Throws BundleError as `decodeRows` does. */
  integers(): Integers[];
  /** What is added to each; anew at every call. */
  decode(): Float32Array[];
}

const MOST = 65535; // an index of a vector is below it

/** Read the table and the scales of `osd.vectors`. Throws BundleError `bundle.coded-table`. */
export function vectorsPart(tensor: Uint8Array): VectorsPart {
  const { varint, dimension, scales, rest } = tableReader(tensor);
  const vectors: VectorFacts[] = [];
  let vector = -1;
  for (let left = varint(); left > 0; left--) {
    vector += 1 + varint();
    if (vector >= MOST) throw malformed(`vector ${vector}`);
    vectors.push({ vector, n: dimension() });
  }
  const scale = scales(vectors.length); // which refuses a group of none
  const shapes = vectors.map(({ n }): MatrixShape => [1, n]);
  const integers = (): Integers[] => decodeRows(rest(), shapes, shapes.length);
  return {
    vectors,
    integers,
    decode: () => integers().map((row, i) => scaled(row, scale.subarray(i, i + 1))),
  };
}
