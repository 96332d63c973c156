/** What an application gets: the size of the core, and what of the platform it needs. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { build } from "esbuild";
import { cases, dataOf } from "./vectors.js";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
const MOST_BYTES = 30_000;

/** What a bundler makes of `contents`, as of a file in src/. */
async function bundled(contents: string, format: "esm" | "iife"): Promise<string> {
  const result = await build({
    stdin: { contents, resolveDir: SOURCE, loader: "ts" },
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

test("a session without the functions for texts is below 30,000 bytes minified", async (t) => {
  const size = async (names: string, entry: string): Promise<number> =>
    Buffer.from(await bundled(`export { ${names} } from "./${entry}.js"`, "esm")).length;
  for (const entry of ["core", "index"]) {
    const bytes = await size("EdgeSession", entry);
    assert.ok(bytes < MOST_BYTES, `${entry}: ${bytes} bytes`);
    t.diagnostic(`EdgeSession of ${entry}: ${bytes} bytes`);
  }
  const more = await size("EdgeSession, classify, tag, answer, embed", "index");
  t.diagnostic(`with classify, tag, answer and embed: ${more} bytes`);
  t.diagnostic(`readBundle alone: ${await size("readBundle", "core")} bytes`);
});

test("the core works where there is the language alone: no DOM, no TextDecoder, no crypto", async () => {
  const context = vm.createContext({});
  new vm.Script(`${await bundled('export * from "./core.js"', "iife")}; this.osdEdge = osdEdge;`).runInContext(context);
  const read = vm.runInContext(
    "(bytes) => { const b = osdEdge.readBundle(Uint8Array.from(bytes)); return b.task + b.labels + b.decode().factors.length; }",
    context,
  ) as (bytes: number[]) => string;
  const vector = cases.find(({ id }) => id === "unicode-labels")!;
  const { task, labels, sites } = vector.expected!;
  assert.equal(read([...dataOf(vector)]), `${task as string}${labels as string[]}${sites.length}`);
});

test("what the package imports, types too, it declares", () => {
  const { dependencies, peerDependencies } = JSON.parse(
    readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
  ) as Record<"dependencies" | "peerDependencies", Record<string, string>>;
  for (const file of readdirSync(SOURCE)) {
    const text = readFileSync(SOURCE + file, "utf8");
    for (const [, name] of text.matchAll(/(?:from|import\() ?"((?:@[^/"]+\/)?[^./"][^/":]*)(?:\/[^"]*)?"/g)) {
      assert.ok(name! in dependencies || name! in peerDependencies, `${file}: ${name}`);
    }
  }
});

test("the version stands in the Python package alone", () => {
  const root = new URL("../../../../", import.meta.url);
  const read = (path: string) => readFileSync(new URL(path, root), "utf8");
  const version = /^__version__ = "(.+)"$/m.exec(read("osd_edge/__init__.py"))?.[1];
  assert.match(version ?? "", /^\d+\.\d+\.\d+/);
  // What a release fills in, and what the page says of itself.
  const described = JSON.parse(read("runtime/web/package.json")) as { version: string };
  assert.equal(described.version, "0.0.0");
  assert.ok(read("runtime/web/page/worker.js").includes(`"${version}"`));
});
