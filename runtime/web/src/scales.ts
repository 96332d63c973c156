/** Positive scales in one byte: a grid of 16 steps to the octave, 2^(i/16) at place i. */

const LARGEST = 1024; // 2⁶⁴: neither infinity nor a subnormal ever comes of a scale
const DEEPEST = 255; // steps below the largest of a group

// 2^(r/16) for r = 0 … 15, as the bits of float32 numbers that docs/bundle-format.md gives.
const STEPS = new Float32Array(
  Uint32Array.of(
    0x3f800000, 0x3f85aac3, 0x3f8b95c2, 0x3f91c3d3, 0x3f9837f0, 0x3f9ef532, 0x3fa5fed7, 0x3fad583f,
    0x3fb504f3, 0x3fbd08a4, 0x3fc5672a, 0x3fce248c, 0x3fd744fd, 0x3fe0ccdf, 0x3feac0c7, 0x3ff5257d,
  ).buffer,
);

/** Whether `top` may be the largest place of a group, or the place of a bias's scale. */
export function isPlace(top: number): boolean {
  return top >= DEEPEST - LARGEST && top <= LARGEST;
}

/** The scale at `place` of the grid, a float32 number; exact. */
export function scaleAt(place: number): number {
  const step = ((place % 16) + 16) % 16;
  return (STEPS[step] as number) * 2 ** ((place - step) / 16);
}
