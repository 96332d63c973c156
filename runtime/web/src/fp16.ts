/** Factors in fp16 (IEEE 754 binary16), as their bits: for packages that take them so. */

import { taskError } from "./errors.js";

/**
 * U and V in fp16; each column's u and v first made of like size.
 *
 * A column's u is often some 10⁻⁴ and its v some hundreds, both near an end of what fp16
 * can tell apart. A power of two moves from one to the other, which loses nothing. `u` is `[k, n]`
 * and `v` is `[k, d]`. Throws TaskError `task.range` where factors of task `name` are too large.
 */
export function fp16Factors(
  name: string,
  k: number,
  u: Float32Array,
  v: Float32Array,
): [Uint16Array, Uint16Array] {
  const rounded: [Uint16Array, Uint16Array] = [
    new Uint16Array(u.length),
    new Uint16Array(v.length),
  ];
  for (let column = 0; column < k; column++) {
    const part = <T extends Float32Array | Uint16Array>(factor: T): T => {
      const width = factor.length / k;
      return factor.subarray(column * width, (column + 1) * width) as T;
    };
    const shift = Math.floor((exponent(part(v)) - exponent(part(u))) / 2);
    part(rounded[0]).set(part(u).map((x) => fp16Bits(x * 2 ** shift)));
    part(rounded[1]).set(part(v).map((x) => fp16Bits(x * 2 ** -shift)));
  }
  if (rounded.some((factor) => factor.some((bits) => (bits & 0x7fff) >= INFINITY))) {
    throw taskError("range", `${name} has factors beyond fp16: use a base with fp32 factors`);
  }
  return rounded;
}

const INFINITY = 0x7c00;

/** e of the largest magnitude m · 2ᵉ, 1 ≤ m < 2; −1 where all are zero. */
function exponent(values: Float32Array): number {
  const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return Math.floor(Math.log2(largest || 0.5));
}

/** The bits of the nearest number in fp16, ties to even; infinity beyond the largest. */
function fp16Bits(x: number): number {
  const size = Math.abs(x);
  // Below 2⁻¹⁴ numbers are as far apart as those above it: subnormals.
  const e = Math.max(Math.floor(Math.log2(size)), -14);
  // A double of 2⁵² or more has no fraction: the sum rounds to a whole number, ties to even. A
  // mantissa that is rounded up to 2048 carries into the exponent, as it should.
  const mantissa = size * 2 ** (10 - e) + 2 ** 52 - 2 ** 52;
  return (x < 0 ? 0x8000 : 0) + Math.min((e + 14) * 1024 + mantissa, INFINITY);
}
