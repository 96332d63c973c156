/** Damaged files: refused with a code, in time, and without memory that their size does not bear. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bundle, BundleError, type DecodedBundle, readBundle } from "../src/core.js";
import { amplified } from "./amplified.js";
import { metadataOf, resigned, withKeys } from "./surgery.js";
import { cases, dataOf } from "./vectors.js";

const MUTATIONS = Number(process.env.FUZZ_MUTATIONS ?? 2000);
// What docs/bundle-format.md, "Slots", gives for each byte: 128 small integers, as bytes or, where
// one of them is large, as 32 bits made of bytes; then 512 bytes of float32. Raw bits, and copies of
// tensors that are not aligned, come to no more than 64.
const INTEGERS = 128;
const LARGE_INTEGERS = 128 * (1 + 4);
const FLOATS = 128 * 4;
const OTHER = 64;
const CONSTANT = 1 << 20;

/** The code that `action` is refused by, "" where it is not. */
function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof BundleError) return error.code;
    throw error;
  }
  return "";
}

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
function allocated(work: () => unknown): number {
  let bytes = 0;
  const names = ["Uint8Array", "Int8Array", "Uint16Array", "Uint32Array", "Int32Array", "Float32Array"] as const;
  const originals = names.map((name) => globalThis[name]);
  for (const [i, name] of names.entries()) {
    const Original = originals[i] as typeof Uint8Array;
    const Counting = class extends Original {
      constructor(...given: [number]) {
        super(...given);
        if (!((given[0] as unknown) instanceof ArrayBuffer)) bytes += this.byteLength;
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
    const bytes = allocated(() => (code = codeOf(() => readBundle(data).decode())));
    codes.set(code, (codes.get(code) ?? 0) + 1);
    // It is read once, and then once more to be decoded.
    const most = (2 * LARGE_INTEGERS + FLOATS + OTHER) * data.length + CONSTANT;
    assert.ok(bytes <= most, `${bytes} bytes for a file of ${data.length}, ${code}`);
  }
  assert.ok(codes.size > 15, `many kinds of refusal were met: ${[...codes.keys()].join(" ")}`);
});

const VALUES = [
  ...[0, -1, 0.5, 1, 2, 65535, 65536, 2 ** 31, 1e300],
  ...[true, null, "", "none", "logits", "left", [], {}],
];

/** The JSON `value` with one part of it replaced, left out, or there twice. */
function changed(value: unknown, below: (n: number) => number): unknown {
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  if (keys.length === 0 || below(4) === 0) return VALUES[below(VALUES.length)];
  const copy = structuredClone(value) as Record<string, unknown>;
  const key = keys[below(keys.length)]!;
  const kind = below(6);
  if (kind > 1) copy[key] = changed(copy[key], below);
  else if (Array.isArray(copy)) copy.splice(Number(key), kind, copy[key]);
  else if (kind === 0) delete copy[key];
  else copy[["text", "seed", "tokens", "prompt", "normalize", "x"][below(6)]!] = copy[key];
  return copy;
}

test(`${MUTATIONS} bundles with other settings are read or refused for just these`, () => {
  const below = generator(0x05e);
  const names = ["labels", "head", "text", "probe", "sequence"];
  const files = cases
    .filter(({ result, flags }) => result === "valid" && !flags.includes("signature"))
    .map((vector) => metadataOf(dataOf(vector)))
    .filter(({ keys }) => ["osd.text", "osd.probe", "osd.sequence"].some((key) => key in keys));
  const codes = new Map(names.map((name) => [name, new Set<string>()]));
  for (let i = 0; i < MUTATIONS; i++) {
    const { keys, data } = files[below(files.length)]!;
    const there = names.filter((name) => `osd.${name}` in keys);
    const name = there[below(there.length)]!;
    const key = `osd.${name}`;
    const text = JSON.stringify(changed(JSON.parse(keys[key]!), below));
    codes.get(name)!.add(codeOf(() => readBundle(withKeys(data, { [key]: text }))));
  }
  const met = (name: string): string[] => [...codes.get(name)!].sort();
  assert.deepEqual(met("labels"), ["", "bundle.labels"]);
  assert.deepEqual(met("text"), ["", "bundle.key-unknown", "bundle.text"]);
  assert.deepEqual(met("probe"), ["", "bundle.probe"]);
  assert.deepEqual(met("sequence"), ["", "bundle.key-value"]);
  assert.ok(codes.get("head")!.has("bundle.head") && codes.get("head")!.has("bundle.head-kind"));
});

for (const escaped of [false, true]) {
  const what = escaped ? "one of them large" : "all zero";
  test(`as many slots as a file may have, ${what}, take the memory that the format tells`, () => {
    const rows = 64;
    const data = amplified(rows, escaped);
    const { length } = data;
    const most = escaped ? LARGE_INTEGERS : INTEGERS;
    let bundle: Bundle | null = null;
    const read = allocated(() => (bundle = readBundle(data)));
    assert.ok(read >= INTEGERS * length && read <= (most + OTHER) * length, `${read} of ${length}`);
    let decoded: DecodedBundle | null = null;
    const bytes = allocated(() => (decoded = bundle!.decode()));
    assert.ok(bytes <= (most + FLOATS + OTHER) * length, `${bytes} of ${length}`);
    const { weight } = decoded!.head.layers[0]!;
    assert.equal(weight!.length, 128 * length);
    assert.equal(weight![0], escaped ? 17 : 0);
    assert.equal(codeOf(() => readBundle(amplified(rows, escaped, 1))), "bundle.slots");
  });
}

test("nothing is allocated from a hostile number", () => {
  for (const vector of cases.filter(({ flags }) => flags.includes("hostile-size"))) {
    const data = dataOf(vector);
    const bytes = allocated(() => codeOf(() => readBundle(data)));
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
