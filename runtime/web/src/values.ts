/** Numbers of tensors, exactly. Every JavaScript engine in use is little-endian. */

import type { Dtype, Tensor } from "./container.js";

/** Arrays that hold the elements of each type; F16 as its bits. */
export const ARRAYS = {
  F32: Float32Array,
  F16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  U16: Uint16Array,
  U32: Uint32Array,
} as const satisfies Record<Dtype, unknown>;

/** The tensor's elements by their own type. A copy where it is not aligned. */
export function elements(tensor: Tensor): InstanceType<(typeof ARRAYS)[Dtype]> {
  const Type = ARRAYS[tensor.dtype];
  const width = Type.BYTES_PER_ELEMENT;
  const bytes = tensor.bytes.byteOffset % width === 0 ? tensor.bytes : tensor.bytes.slice();
  return new Type(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length / width);
}

/** The elements of an F32, F16 or I8 tensor as numbers; the infinity of F16 as NaN. */
export function numbers(tensor: Tensor): Float32Array | Int8Array {
  const values = elements(tensor) as Float32Array | Int8Array;
  return tensor.dtype === "F16" ? Float32Array.from(values, fp16Value) : values;
}

/** All of `numbers` together; 0 of none. */
export function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

/**
 * Rows of `values`, as many as there are scales, each times its scale, in `result`.
 *
 * A number of 17 bits times one of 24 is exact in a double, so the store rounds once, as it must.
 */
export function scaled(
  values: ArrayLike<number>,
  scale: Float32Array,
  result: Float32Array = new Float32Array(values.length),
): Float32Array {
  const width = values.length / scale.length;
  for (let row = 0, i = 0; row < scale.length; row++) {
    for (let end = i + width; i < end; i++) {
      result[i] = (values[i] as number) * (scale[row] as number);
    }
  }
  return result;
}

/** A number in fp16 from its bits, subnormals included; NaN for infinity. */
function fp16Value(bits: number): number {
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return NaN;
  const steps = exponent === 0 ? fraction : 1024 + fraction;
  return (bits & 0x8000 ? -steps : steps) * 2 ** (Math.max(exponent, 1) - 25);
}
