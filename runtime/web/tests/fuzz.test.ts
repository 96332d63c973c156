/** Damaged files: refused with a code, in time, and without memory that their size does not bear. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { BundleError, readBundle } from "../src/core.js";
import { cases, dataOf } from "./vectors.js";

const MUTATIONS = Number(process.env.FUZZ_MUTATIONS ?? 2000);
const LARGEST_PER_BYTE = 4096; // a coded byte holds at most 2048 slots; raw bits are 8 bytes
const CONSTANT = 1 << 20;

/** Repeatable noise: xorshift32. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Run `work`, adding up what it allocates in typed arrays. */
function allocated(work: () => void): number {
  let bytes = 0;
  const names = ["Uint8Array", "Int8Array", "Uint16Array", "Uint32Array", "Int32Array", "Float32Array"] as const;
  const originals = names.map((name) => globalThis[name]);
  for (const [i, name] of names.entries()) {
    const Original = originals[i] as typeof Uint8Array;
    const Counting = class extends Original {
      constructor(...given: [number]) {
        super(...given);
        if (typeof given[0] === "number") bytes += this.byteLength;
      }
      static get [Symbol.species](): typeof Original {
        return Original;
      }
    };
    (globalThis as unknown as Record<string, unknown>)[name] = Counting;
  }
  try {
    work();
  } finally {
    for (const [i, name] of names.entries()) {
      (globalThis as unknown as Record<string, unknown>)[name] = originals[i];
    }
  }
  return bytes;
}

/** `data` with its digest made right, so that a mutation is not caught by it alone. */
function resigned(data: Uint8Array): Uint8Array {
  const text = Buffer.from(data);
  const key = text.indexOf('"osd.sha256":"');
  if (key < 0 || key + 78 > text.length) return data;
  const place = key + '"osd.sha256":"'.length;
  text.fill("0", place, place + 64);
  text.write(createHash("sha256").update(text).digest("hex"), place, "latin1");
  return new Uint8Array(text);
}

function mutated(data: Uint8Array, below: (n: number) => number): Uint8Array {
  const result = Uint8Array.from(data);
  const times = 1 + below(4);
  for (let i = 0; i < times; i++) {
    const at = below(result.length);
    switch (below(4)) {
      case 0:
        result[at]! ^= 1 << below(8);
        break;
      case 1:
        result[at] = [0, 1, 127, 128, 255, 48, 57, 34][below(8)]!;
        break;
      case 2:
        result.copyWithin(at, below(result.length), below(result.length));
        break;
      default:
        result.fill(below(256), at, at + below(16));
    }
  }
  return below(8) === 0 ? result.subarray(0, below(result.length + 1)) : result;
}

test(`${MUTATIONS} mutations of valid files are decoded or refused, within memory`, () => {
  const below = generator(0x05d);
  const files = cases.filter(({ result }) => result === "valid").map(dataOf);
  const codes = new Map<string, number>();
  for (let i = 0; i < MUTATIONS; i++) {
    const file = files[below(files.length)]!;
    const changed = mutated(file, below);
    const data = below(4) === 0 ? changed : resigned(changed);
    let code = "";
    const bytes = allocated(() => {
      try {
        readBundle(data).decode();
      } catch (error) {
        if (!(error instanceof BundleError)) throw error;
        code = error.code;
      }
    });
    codes.set(code, (codes.get(code) ?? 0) + 1);
    const most = LARGEST_PER_BYTE * data.length + CONSTANT;
    assert.ok(bytes <= most, `${bytes} bytes for a file of ${data.length}, ${code}`);
  }
  assert.ok(codes.size > 15, `many kinds of refusal were met: ${[...codes.keys()].join(" ")}`);
});

test("nothing is allocated from a hostile number", () => {
  for (const vector of cases.filter(({ flags }) => flags.includes("hostile-size"))) {
    const data = dataOf(vector);
    const bytes = allocated(() => {
      try {
        readBundle(data);
      } catch (error) {
        if (!(error instanceof BundleError)) throw error;
      }
    });
    assert.ok(bytes < 500_000, `${vector.id}: ${bytes} bytes`);
  }
});

test("headers as long as may be are read without a stack that runs out", () => {
  for (const filler of ["a", "\\n", "[", "1,", "{\"a\":", " "]) {
    for (const quoted of [true, false]) {
      const body = filler.repeat(Math.floor((2 ** 20 - 64) / filler.length));
      const header = `{"__metadata__":${quoted ? `{"osd.format":"2","x":"${body}"}` : `[${body}`}}`;
      const data = new Uint8Array(8 + Buffer.byteLength(header));
      new DataView(data.buffer).setUint32(0, data.length - 8, true);
      data.set(Buffer.from(header), 8);
      assert.throws(() => readBundle(data), BundleError);
    }
  }
});
