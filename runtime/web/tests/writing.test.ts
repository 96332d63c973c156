/** Bases and tasks that write text, which this runtime does not do: it says so with Python's codes. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkFits, parseManifest, readBundle } from "../src/core.js";
import { EdgeSession } from "../src/node.js";
import { code } from "./refusal.js";
import { cases, dataOf, manifestText, ROOT } from "./vectors.js";

const SMALL_LLAMA = new URL("device_tests/data/small-llama/", ROOT);

test("a base that writes text is refused for the version of its manifest", async () => {
  const { format, generation } = JSON.parse(
    readFileSync(new URL("manifest.json", SMALL_LLAMA), "utf8"),
  ) as { format: number; generation: object };
  assert.deepEqual([format, typeof generation], [2, "object"]);
  assert.equal(await code(() => EdgeSession.create(fileURLToPath(SMALL_LLAMA))), "base.version");
});

test("a task that writes text is read, and refused over a base that gives no logits", async () => {
  const vector = cases.find(({ id }) => id === "generate")!;
  const bundle = readBundle(dataOf(vector));
  assert.equal(bundle.head.kind, "generate");
  const manifest = parseManifest(manifestText);
  const own = { ...bundle, base: manifest.fingerprint, siteCount: manifest.sites.length, sites: [] };
  const fits = () => checkFits(own, manifest);
  assert.equal(await code(fits), "bundle.head-base");
});
