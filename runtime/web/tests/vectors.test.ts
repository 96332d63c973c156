import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  applyHead,
  BundleError,
  checkFits,
  parseManifest,
  readBundle,
  type Bundle,
} from "../src/core.js";
import { withKeys } from "./surgery.js";
import { cases, dataOf, manifestText, ROOT, tolerance } from "./vectors.js";

const manifest = parseManifest(manifestText);

function hash(values: Float32Array): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return createHash("sha256").update(bytes).digest("hex");
}

function refusal(action: () => unknown): BundleError {
  try {
    action();
  } catch (error) {
    if (error instanceof BundleError) return error;
    throw error;
  }
  assert.fail("it was not refused");
}

for (const vector of cases.filter(({ result }) => result === "valid")) {
  test(`${vector.id} decodes to its hashes`, () => {
    const { sites, head, sequence = 0, text = null, probe = null, vectors = [], ...facts } =
      vector.expected!;
    const bundle: Bundle = readBundle(dataOf(vector));
    const { task, labels, base, values } = bundle;
    const found = { task, labels, base, values };
    const rest = { task_version: bundle.taskVersion, site_count: bundle.siteCount };
    assert.deepEqual({ ...found, ...rest }, facts);
    const decoded = bundle.decode();
    const decodedSites = bundle.sites.map(({ site, n, d, k }, i) => {
      const { u, v } = decoded.factors[i]!;
      return { site, n, d, k, u: hash(u), v: hash(v) };
    });
    assert.deepEqual(decodedSites, sites);
    const { kind, pooling, normalize } = decoded.head;
    const length = kind === "embedding" ? { normalize } : {};
    const layers = decoded.head.layers.map((layer, i) => {
      const { n, d, activation } = layer;
      const parts = (["weight", "u", "v", "bias"] as const)
        .filter((part) => layer[part] !== null)
        .map((part) => [part, hash(layer[part]!)]);
      return { shape: [n, d], rank: bundle.head.layers[i]!.rank, activation, ...Object.fromEntries(parts) };
    });
    assert.deepEqual({ kind, pooling, layers, ...length }, head);
    assert.deepEqual([bundle.sequence, bundle.text, bundle.probe], [sequence, text, probe]);
    const changes = bundle.vectors.map(({ vector, n }, i) => {
      return { vector, n, values: hash(decoded.vectors[i]!) };
    });
    assert.deepEqual(changes, vectors);
  });

  test(`${vector.id} fits the base as its flags say`, () => {
    const bundle = readBundle(dataOf(vector));
    if (vector.flags.includes("fits-base")) checkFits(bundle, manifest);
    else refusal(() => checkFits(bundle, manifest));
  });
}

for (const vector of cases.filter(({ flags }) => flags.includes("logits"))) {
  test(`the head of ${vector.id} gives its logits`, () => {
    const { hidden, mask, pooled, logits } = vector.run!;
    const found = applyHead(readBundle(dataOf(vector)).decode().head, {
      hidden: Float32Array.from(hidden.flat(2)),
      batch: hidden.length,
      tokens: hidden[0]!.length,
      mask: mask.flat(),
      pooled: pooled && Float32Array.from(pooled.flat()),
    });
    const expected = logits.flat(2);
    assert.equal(found.length, expected.length);
    expected.forEach((logit, i) => {
      assert.ok(Math.abs(found[i]! - logit) <= tolerance * Math.max(1, Math.abs(logit)));
    });
  });
}

for (const vector of cases.filter(({ result }) => result === "invalid")) {
  test(`${vector.id} is refused with its code`, () => {
    const data = dataOf(vector);
    const error = refusal(() => {
      const bundle = readBundle(data);
      if (vector.flags.includes("against-base")) checkFits(bundle, manifest);
    });
    assert.equal(error.code, vector.code);
    assert.ok(error.message.length > 10 && error.message.length < 400, error.message);
  });
}

test("a bundle is read wherever it begins in its buffer", () => {
  for (const vector of cases.filter(({ result }) => result === "valid")) {
    const data = dataOf(vector);
    const shifted = new Uint8Array(data.length + 3).subarray(3);
    shifted.set(data);
    // A Buffer is a Uint8Array whose slices are views.
    const buffer = Buffer.concat([Buffer.of(0), data]).subarray(1);
    const factors = (bytes: Uint8Array): string[] =>
      readBundle(bytes).decode().factors.map(({ u }) => hash(u));
    assert.deepEqual(factors(shifted), factors(data));
    assert.deepEqual(factors(buffer), factors(data));
  }
});

test("labels that would read alike in one line are not taken for those of the kind", () => {
  const data = dataOf(cases.find(({ id }) => id === "probe-seed")!);
  const layers = [{ shape: [1, 8], rank: 0, activation: null }];
  const head = JSON.stringify({ kind: "spans", pooling: "none", layers });
  const changed = withKeys(data, { "osd.head": head, "osd.labels": '["start,end"]' });
  assert.equal(refusal(() => readBundle(changed)).code, "bundle.labels");
});

test("every code of the format's page is one that this reader gives, or names a file", () => {
  const page = readFileSync(new URL("docs/bundle-format.md", ROOT), "utf8");
  const documented = [...page.matchAll(/^\| `(bundle\.[a-z-]+)` \|/gm)].map((match) => match[1]);
  const given = new Set(cases.map(({ code }) => code));
  assert.deepEqual(documented.filter((code) => !given.has(code)), ["bundle.missing"]);
});
