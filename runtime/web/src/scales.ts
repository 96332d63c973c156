/** Positive scales in one byte: a grid of 16 steps to the octave, 2^(i/16) at grid index i. */

const LARGEST = 1024; // 2⁶⁴: neither infinity nor a subnormal ever comes of a scale
const DEEPEST = 255; // steps below the largest of a group

// 2^(r/16) for r = 0 … 15 as float32, the bits that docs/bundle-format.md gives: none is so near
// the middle of two such numbers that the last digits of an engine's powers could matter.
const STEPS = Float32Array.from({ length: 16 }, (_, r) => 2 ** (r / 16));

/** Whether `index` may be that of the largest scale of a group, or of a bias. */
export function isGridIndex(index: number): boolean {
  return index >= DEEPEST - LARGEST && index <= LARGEST;
}

/** The scale at grid index `index`, a float32 number; exact. */
export function scaleAt(index: number): number {
  const step = ((index % 16) + 16) % 16;
  return (STEPS[step] as number) * 2 ** ((index - step) / 16);
}
