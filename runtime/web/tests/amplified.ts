/** A coded bundle of few bytes with as many slots as its bytes may have, nearly all of them zero. */

import { patternFrequencies, tailFrequencies } from "../src/code-classes.js";
import { sealed } from "./surgery.js";

const LANES_LOG2 = 12;
const WIDTH = 65_532; // of a row: whole groups
const SLOTS_PER_BYTE = 128;

/** Frequency and first quantile of a symbol. */
type Chance = readonly [frequency: number, start: number];

function chance(frequencies: readonly number[], symbol: number): Chance {
  const before = frequencies.slice(0, symbol).reduce((a, b) => a + b, 0);
  return [frequencies[symbol]!, before];
}

/** Rows of zeros, but for the first number, which is 17 where it is `escaped`: no raw bit is 1. */
function coded(rows: number, escaped: boolean): Uint8Array {
  const lanes = 2 ** LANES_LOG2;
  const states = new Float64Array(lanes).fill(2 ** 16);
  const words: number[] = [];
  const put = (i: number, [frequency, start]: Chance): void => {
    let x = states[i % lanes]!;
    if (x >= frequency * 2 ** 20) {
      words.push(x % 2 ** 16);
      x = Math.floor(x / 2 ** 16);
    }
    states[i % lanes] = Math.floor(x / frequency) * 4096 + (x % frequency) + start;
  };
  // What is decoded last is coded first.
  const first = escaped ? 1 : 0; // class of the first row: one that has tails
  if (escaped) put(0, chance(tailFrequencies(1), 15));
  const groups = WIDTH / 4;
  const [zeros, ownZeros] = [chance(patternFrequencies(0), 0), chance(patternFrequencies(first), 0)];
  for (let i = rows * groups - 1; i > 0; i--) put(i, i < groups ? ownZeros : zeros);
  put(0, chance(patternFrequencies(first), 2 * first));
  const classes = new Uint8Array(rows);
  classes[0] = first;
  return Buffer.concat([
    classes,
    Uint8Array.of(LANES_LOG2),
    new Uint8Array(Uint32Array.from(states).buffer),
    new Uint8Array(Uint16Array.from(words.reverse()).buffer),
  ]);
}

/** A head of `rows` rows that decodes, in a file of exactly a byte for each 128 slots, less `less`. */
export function amplified(rows: number, escaped: boolean, less = 0): Uint8Array {
  const scales = Uint8Array.of(0, 0, ...new Uint8Array(rows), 0, 0x80); // all 1; and no bias
  const part = Buffer.concat([Uint8Array.of(0), scales, coded(rows, escaped)]);
  const layer = { shape: [rows, WIDTH], rank: 0, activation: null };
  const head = { kind: "embedding", pooling: "cls", layers: [layer], normalize: false };
  const made = (padding: number): Uint8Array =>
    sealed(
      {
        __metadata__: {
          "osd.sha256": "0".repeat(64),
          "osd.format": "1",
          "osd.task": "amplified",
          "osd.task_version": "",
          "osd.base": "a".repeat(64),
          "osd.site_count": "0",
          "osd.labels": "[]",
          "osd.head": JSON.stringify(head),
          "info.tool": " ".repeat(padding),
        },
        "osd.coded": { dtype: "U8", shape: [part.length], data_offsets: [0, part.length] },
      },
      part,
    );
  return made((rows * WIDTH) / SLOTS_PER_BYTE - made(0).length - less);
}
