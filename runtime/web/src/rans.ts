/**
 * Range decoding of symbols in many lanes (rANS): each lane has a state in [2¹⁶, 2³²), and all
 * take their 16-bit words from one stream. Symbol i of a part is in lane i mod L.
 */

import { TOTAL } from "./code-classes.js";
import { bundleError } from "./errors.js";

export const LOWEST = 2 ** 16; // of a state
export const MAX_LANES_LOG2 = 12;

export class LaneDecoder {
  /** Words taken. */
  at = 0;
  #lane = 0;
  readonly #count: number;

  /** `words` are bytes, two a word; a last odd byte is not taken. `states` is changed. */
  constructor(
    readonly states: Uint32Array,
    readonly words: Uint8Array,
  ) {
    this.#count = words.length >> 1;
  }

  /** Begin a part: its first symbol is in lane 0. */
  restart(): void {
    this.#lane = 0;
  }

  /** The next symbol's entry of `table`. Throws BundleError `bundle.coded-stream` at the end. */
  next(table: Uint32Array): number {
    const lane = this.#lane;
    this.#lane = lane + 1 === this.states.length ? 0 : lane + 1;
    const state = this.states[lane] as number;
    const entry = table[state & (TOTAL - 1)] as number;
    // Below 2³² for a valid state; a hostile one wraps, as in a decoder of 32-bit numbers.
    let x = (Math.imul(entry >>> 20, state >>> 12) + (entry & (TOTAL - 1))) >>> 0;
    if (x < LOWEST) {
      // Lanes of a step take words in ascending order, which is the order of their symbols.
      if (this.at === this.#count) {
        throw bundleError("coded-stream", "it ends too early");
      }
      const place = 2 * this.at++;
      const word = (this.words[place] as number) | ((this.words[place + 1] as number) << 8);
      x = (x * 2 ** 16 + word) >>> 0;
    }
    this.states[lane] = x;
    return entry;
  }
}
