/** Positive scales in one byte: a grid of 16 steps to the octave, 2^(i/16) at place i. */

const LARGEST = 1024; // 2⁶⁴: neither infinity nor a subnormal ever comes of a scale
const DEEPEST = 255; // steps below the largest of a group

// 2^(r/16) for r = 0 … 15 as float32, the bits that docs/bundle-format.md gives: none is so near
// the middle of two such numbers that the last digits of an engine's powers could matter.
const STEPS = Float32Array.from({ length: 16 }, (_, r) => 2 ** (r / 16));

/** Whether `top` may be the largest place of a group, or the place of a bias's scale. */
export function isPlace(top: number): boolean {
  return top >= DEEPEST - LARGEST && top <= LARGEST;
}

/** The scale at `place` of the grid, a float32 number; exact. */
export function scaleAt(place: number): number {
  const step = ((place % 16) + 16) % 16;
  return (STEPS[step] as number) * 2 ** ((place - step) / 16);
}
