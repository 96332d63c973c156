/** What an application gets: the size of the core, and what of the platform it needs. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { build } from "esbuild";
import { cases, dataOf } from "./vectors.js";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
const MOST_BYTES = 32 * 1024;

async function bundled(entry: string, format: "esm" | "iife"): Promise<string> {
  const result = await build({
    entryPoints: [`${SOURCE}${entry}`],
    bundle: true,
    minify: true,
    write: false,
    format,
    globalName: format === "iife" ? "osdEdge" : "",
    charset: "utf8",
    target: "es2022",
    external: ["onnxruntime-web", "onnxruntime-web/wasm"],
  });
  return result.outputFiles[0]!.text;
}

test("all but onnxruntime and the tokenizer is below 32 KiB minified", async () => {
  for (const entry of ["core.ts", "index.ts"]) {
    const { length } = Buffer.from(await bundled(entry, "esm"));
    assert.ok(length < MOST_BYTES, `${entry} has ${length} bytes`);
  }
});

test("the core works where there is the language alone: no DOM, no TextDecoder, no crypto", async () => {
  const context = vm.createContext({});
  new vm.Script(`${await bundled("core.ts", "iife")}; this.osdEdge = osdEdge;`).runInContext(context);
  const read = vm.runInContext(
    "(bytes) => { const b = osdEdge.readBundle(Uint8Array.from(bytes)); return b.task + b.labels + b.decode().factors.length; }",
    context,
  ) as (bytes: number[]) => string;
  const vector = cases.find(({ id }) => id === "unicode-labels")!;
  const { task, labels, sites } = vector.expected!;
  assert.equal(read([...dataOf(vector)]), `${task as string}${labels as string[]}${sites.length}`);
});

test("the versions of the two packages are one", () => {
  const root = new URL("../../../../", import.meta.url);
  const { version } = JSON.parse(
    readFileSync(new URL("runtime/web/package.json", root), "utf8"),
  ) as { version: string };
  const project = readFileSync(new URL("pyproject.toml", root), "utf8");
  assert.equal(/^version = "(.*)"$/m.exec(project)?.[1], version);
});
