/**
 * Range decoding of symbols in many lanes (rANS): each lane has a state in [2¹⁶, 2³²), and all
 * take their 16-bit words from one stream. Symbol i of a part is in lane i mod L.
 */

import { TOTAL } from "./code-classes.js";
import { bundleError } from "./errors.js";

export const LOWEST = 2 ** 16; // of a state
export const MAX_LANES_LOG2 = 12;

/** The next symbol's entry of a table. Throws BundleError `bundle.coded-stream` at the end. */
export type NextSymbol = (table: Uint32Array) => number;

export interface LaneDecoder {
  /** Begin a part: its first symbol is in lane 0. */
  part(): NextSymbol;
  /** The bytes after the words that were taken. */
  rest(): Uint8Array;
}

/** `words` are bytes, two a word; a last odd byte is not taken. `states` is changed. */
export function laneDecoder(states: Uint32Array, words: Uint8Array): LaneDecoder {
  let at = 0;
  return {
    part: () => {
      let lane = 0;
      return (table) => {
        const state = states[lane] as number;
        const entry = table[state & (TOTAL - 1)] as number;
        // Below 2³² for a valid state; a hostile one wraps, as in a decoder of 32-bit numbers.
        let x = (Math.imul(entry >>> 20, state >>> 12) + (entry & (TOTAL - 1))) >>> 0;
        if (x < LOWEST) {
          // Lanes of a step take words in ascending order, which is the order of their symbols.
          if (at + 2 > words.length) throw bundleError("coded-stream", "it ends too early");
          x = (x * 2 ** 16 + (words[at] as number) + 256 * (words[at + 1] as number)) >>> 0;
          at += 2;
        }
        states[lane] = x;
        if (++lane === states.length) lane = 0;
        return entry;
      };
    },
    rest: () => words.subarray(at),
  };
}
