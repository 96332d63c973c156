/** Damaged files: this reader and Python's refuse the same ones, by the same codes. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { type Bundle, BundleError, readBundle } from "../src/core.js";
import { fixture } from "./fixtures.js";

/** A file of `damaged.bin`, and what tests/web/damaged.py says that Python makes of it. */
interface Damaged {
  readonly bytes: number;
  readonly code?: string;
  readonly sha256?: string;
}

/** The hash of all that `bundle` decodes to, as `osd_edge.device_tests.conformance.hashes` takes it. */
function decodedHash(bundle: Bundle): string {
  const digest = createHash("sha256");
  const { factors, head } = bundle.decode();
  factors.forEach(({ u, v }, i) => {
    digest.update(Uint32Array.of(bundle.sites[i]!.site)).update(u).update(v);
  });
  for (const { weight, u, v, bias } of head.layers) {
    for (const part of [weight, u, v, bias]) if (part !== null) digest.update(part);
  }
  return digest.digest("hex");
}

function verdict(data: Uint8Array): Omit<Damaged, "bytes"> {
  try {
    return { sha256: decodedHash(readBundle(data)) };
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    return { code: error.code };
  }
}

test("Python's reader and this one agree on damaged files", () => {
  const all = fixture("damaged.bin");
  const files = JSON.parse(new TextDecoder().decode(fixture("damaged.json"))) as Damaged[];
  const codes = new Set<string>();
  let start = 0;
  files.forEach(({ bytes, ...expected }, i) => {
    assert.deepEqual(verdict(all.subarray(start, start + bytes)), expected, `file ${i}`);
    codes.add(expected.code ?? "");
    start += bytes;
  });
  assert.equal(start, all.length);
  assert.ok(codes.has("") && codes.size > 20, `many kinds of damage: ${[...codes].join(" ")}`);
});
