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
  let found = 0;
  let previous = -1;
  const malformed = (): BundleError =>
    bundleError("positions", `malformed, of ${count} in ${slots} slots`);
  const add = (slot: number): void => {
    if (slot <= previous || slot >= slots || found === count) throw malformed();
    previous = slot;
    each(found++, slot);
  };
  if (count === slots) {
    for (; found < count; found++) each(found, found);
  } else if (bitmap <= indices) {
    for (let byte = 0; byte < code.length; byte++) {
      for (let bits = code[byte] as number; bits !== 0; bits &= bits - 1) {
        add(8 * byte + 31 - Math.clz32(bits & -bits));
      }
    }
  } else {
    const plane = Math.ceil(count / 8);
    for (let i = 0; i < 8 * plane; i++) {
      let slot = 0;
      for (let b = indexBits(slots) - 1; b >= 0; b--) {
        slot = 2 * slot + (((code[b * plane + (i >> 3)] as number) >> (i & 7)) & 1);
      }
      // After the last index all bits are 0.
      if (i < count || slot > 0) add(slot);
    }
  }
  if (found !== count) throw malformed();
}
