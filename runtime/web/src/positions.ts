/**
 * Where the non-zeros of a factor stand: dense, bitmap or fixed-width indices in planes.
 *
 * docs/bundle-format.md, "Positions", says which coding a factor has and what is canonical.
 */

import { type BundleError, bundleError } from "./errors.js";

/** ⌈log₂ slots⌉: bits that name one of `slots` positions; slots are below 2³². */
function indexBits(slots: number): number {
  return 32 - Math.clz32(Math.max(slots - 1, 0));
}

/** Bytes that a bitmap of `slots` takes, and that indices of `count` of them do. */
function sizes(slots: number, count: number): [number, number] {
  return [Math.ceil(slots / 8), indexBits(slots) * Math.ceil(count / 8)];
}

/** Bytes that the positions of `count` non-zeros among `slots` take. */
export function codedBytes(slots: number, count: number): number {
  return count === slots ? 0 : Math.min(...sizes(slots, count));
}

/**
 * Call `each` with the number of every non-zero and its slot, ascending.
 *
 * `code` has exactly `codedBytes(slots, count)` bytes. Throws BundleError `bundle.positions`
 * where it is not canonical, possibly after some calls; never more than `count` of them.
 */
export function eachPosition(
  code: Uint8Array,
  slots: number,
  count: number,
  each: (index: number, slot: number) => void,
): void {
  const [bitmap, indices] = sizes(slots, count);
  if (count === slots) {
    for (let i = 0; i < count; i++) each(i, i);
  } else if (bitmap <= indices) {
    eachBit(code, slots, count, each);
  } else {
    eachIndex(code, slots, count, each);
  }
}

function eachBit(
  code: Uint8Array,
  slots: number,
  count: number,
  each: (index: number, slot: number) => void,
): void {
  let found = 0;
  for (let byte = 0; byte < code.length; byte++) {
    for (let bits = code[byte] as number; bits !== 0; bits &= bits - 1) {
      const slot = 8 * byte + 31 - Math.clz32(bits & -bits);
      if (slot >= slots || found === count) throw malformed(slots, count);
      each(found++, slot);
    }
  }
  if (found !== count) throw malformed(slots, count);
}

function eachIndex(
  code: Uint8Array,
  slots: number,
  count: number,
  each: (index: number, slot: number) => void,
): void {
  const planes = indexBits(slots);
  const plane = Math.ceil(count / 8);
  const bit = (b: number, i: number): number =>
    ((code[b * plane + (i >> 3)] as number) >> (i & 7)) & 1;
  let previous = -1;
  for (let i = 0; i < 8 * plane; i++) {
    let slot = 0;
    for (let b = planes - 1; b >= 0; b--) slot = 2 * slot + bit(b, i);
    if (i < count) {
      if (slot <= previous || slot >= slots) throw malformed(slots, count);
      previous = slot;
      each(i, slot);
    } else if (slot !== 0) {
      throw malformed(slots, count);
    }
  }
}

function malformed(slots: number, count: number): BundleError {
  return bundleError("positions", `malformed, of ${count} in ${slots} slots`);
}
