/**
 * The fixed chances that coded rows are coded with: 256 classes of a row, from how many of its
 * slots are not zero and how many of those are more than 1.
 *
 * docs/bundle-format.md, "Classes", has the lists and the formula.
 */

export const TOTAL = 4096; // quantiles, which frequencies add up to
export const PATTERNS = 81; // of four slots that are 0, ±1 or more
export const TAILS = 16;
export const ESCAPE = 15; // the tail that is followed by 16 raw bits

const NONZERO = [
  4, 5, 7, 9, 12, 15, 20, 26, 34, 44, 57, 73, 94, 120, 151, 190, 235, 288, 347, 411, 479, 549, 616,
  681, 739, 792, 837, 875, 906, 931, 952, 968,
];
const LARGE = [0, 6, 18, 38, 66, 104, 152, 212];
// For g = 1 … 7; tails that are left out have a frequency of 1.
const TAIL_FREQUENCIES = [
  [3917, 145, 16, 5, 2],
  [3836, 219, 22, 6, 2],
  [3715, 324, 36, 8, 2],
  [3428, 556, 81, 15, 4, 2],
  [2816, 937, 248, 63, 16, 5, 2],
  [2121, 1137, 503, 197, 77, 31, 13, 6, 3, 2],
  [1020, 858, 662, 495, 337, 229, 156, 107, 73, 50, 34, 24, 16, 11, 8, 16],
];

/** What the slots of each pattern are, 2 for more than 1; flat, four to a pattern. */
export const DIGITS = Uint8Array.from({ length: 4 * PATTERNS }, (_, i) => {
  return ((i >> 2) / 3 ** (i & 3)) % 3; // cut to a whole number
});

/** Frequencies of the 81 patterns in a class `0 … 255`; they add up to 4096. */
export function patternFrequencies(code: number): number[] {
  const nonzero = NONZERO[code >> 3] as number;
  const large = LARGE[code & 7] as number;
  const more = large === 0 ? 0 : Math.max(1, (nonzero * large + 128) >> 8);
  const chances = [1024 - nonzero, nonzero - more, more];
  const weights = Array.from({ length: PATTERNS }, (_, pattern) => {
    let weight = 1; // below 2⁴⁰, so every product here is exact in a double
    for (let i = 0; i < 4; i++) weight *= chances[DIGITS[4 * pattern + i] as number] as number;
    return weight;
  });
  const rest = TOTAL - weights.filter(Boolean).length;
  let some = 0;
  let before = 0;
  let start = 0;
  return weights.map((weight) => {
    const first = start;
    if (weight > 0) some++;
    before += weight;
    start = some + Math.floor((before * rest) / 2 ** 40); // of the next pattern
    return start - first;
  });
}

/** Frequencies of the 16 tails in a class by its lowest three bits, `0 … 7`; they add up to 4096. */
export function tailFrequencies(code: number): number[] {
  const first = TAIL_FREQUENCIES[Math.max(code, 1) - 1] as number[];
  return Array.from({ length: TAILS }, (_, tail) => first[tail] ?? 1);
}

/**
 * What each of 4096 quantiles decodes to: frequency · 2²⁰ + symbol · 2¹² + quantile − the symbol's
 * first quantile.
 */
export function decodingTable(frequencies: readonly number[]): Uint32Array {
  const table = new Uint32Array(TOTAL);
  let quantile = 0;
  frequencies.forEach((frequency, symbol) => {
    const entry = frequency * 2 ** 20 + symbol * 2 ** 12;
    for (let i = 0; i < frequency; i++) table[quantile++] = entry + i;
  });
  return table;
}
