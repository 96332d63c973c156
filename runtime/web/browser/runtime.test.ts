/** The package itself in Chromium, over onnxruntime-web: numbers of Python's runtime. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";
import { openBrowser } from "./phone.js";

const TOLERANCE = 1e-4;
const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));
const ORT = `${dirname(createRequire(import.meta.url).resolve("onnxruntime-web"))}/`;
const TYPES: Record<string, string> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** What the page imports: the package, its text encoder, and onnxruntime to tell where its files are. */
type Runtime = typeof import("../src/index.js") &
  typeof import("../src/text.js") & { ort: { env: { wasm: { wasmPaths: string } } } };

let server: Server;
let browser: Browser;
let page: Page;

before(async () => {
  const entry = `
    export * from "./index.js";
    export { textEncoder } from "./text.js";
    export * as ort from "onnxruntime-web/wasm";`;
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: SOURCE, loader: "ts" },
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    conditions: ["onnxruntime-web-use-extern-wasm"],
  });
  const runtime = outputFiles[0]!.contents;
  server = createServer(({ url }, response) => {
    const path = url!.slice(1);
    const type = TYPES[/\.\w+$/.exec(path)?.[0] ?? ""] ?? "text/html";
    try {
      response.setHeader("Content-Type", type);
      if (path === "runtime.js") response.end(runtime);
      else if (path.startsWith("ort/")) response.end(readFileSync(ORT + path.slice(4)));
      else response.end(path === "" ? "<!doctype html>" : readFileSync(FIXTURES + path));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  browser = await openBrowser();
  page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
});

after(async () => {
  await browser?.close();
  server?.close();
  server?.closeAllConnections();
});

interface Case {
  readonly text: string;
  readonly ids?: number[];
  readonly logits: Record<string, number[]>;
}

/** Ids and logits in the page: base at `base`, the bundle of each task at its address. */
function run(
  base: string,
  bundles: Record<string, string>,
  texts: readonly string[],
): Promise<{ ids: number[]; logits: Record<string, number[]> }[]> {
  return page.evaluate(
    async ({ base, bundles, texts }) => {
      const address = "/runtime.js"; // a variable: it is of the page, not of this module
      const { EdgeSession, ort, textEncoder } = (await import(address)) as Runtime;
      ort.env.wasm.wasmPaths = new URL("/ort/", location.href).href;
      const session = await EdgeSession.create(base, { encoder: textEncoder });
      for (const [task, bundle] of Object.entries(bundles)) await session.load(bundle, task);
      const found = [];
      for (const text of texts) {
        const inputs = session.encoder!.encode([text]);
        const logits: Record<string, number[]> = {};
        for (const task of session.tasks) {
          session.activate(task);
          logits[task] = [...(await session.run(inputs)).logits!];
        }
        found.push({ ids: [...(inputs.input_ids as Int32Array)], logits });
      }
      await session.release();
      return found;
    },
    { base, bundles, texts },
  );
}

/** The largest difference, where all ids are the same. */
async function difference(
  base: string,
  bundles: Record<string, string>,
  cases: readonly Case[],
): Promise<number> {
  const found = await run(base, bundles, cases.map(({ text }) => text));
  let most = 0;
  cases.forEach(({ text, ids, logits }, i) => {
    if (ids !== undefined) assert.deepEqual(found[i]!.ids, ids, text);
    for (const task of Object.keys(bundles)) {
      assert.equal(found[i]!.logits[task]!.length, logits[task]!.length);
      logits[task]!.forEach((x, j) => {
        most = Math.max(most, Math.abs(found[i]!.logits[task]![j]! - x));
      });
    }
  });
  return most;
}

function json<T>(name: string): T {
  return JSON.parse(readFileSync(FIXTURES + name, "utf8")) as T;
}

test("a package that takes factors in fp16 gives Python's logits", async () => {
  const { cases } = json<{ cases: Case[] }>("halves.json");
  const tasks = Object.keys(cases[0]!.logits);
  const bundles = Object.fromEntries(tasks.map((task) => [task, `/base-${task}.osd.safetensors`]));
  const most = await difference("/halves", bundles, cases);
  assert.ok(most <= TOLERANCE, `${most}`);
});

const real = existsSync(`${FIXTURES}checkpoints.json`);
const skip = real ? false : "../shared/checkpoints was not beside the project when fixtures were made";

test("four real tasks over MiniLM give Python's logits", { skip }, async (t) => {
  const { tasks, cases } = json<{ tasks: string[]; cases: Case[] }>("checkpoints.json");
  const bundles = Object.fromEntries(
    tasks.map((task) => [task, `/checkpoint-${task}.osd.safetensors`]),
  );
  const most = await difference("/minilm", bundles, cases);
  t.diagnostic(`${cases.length} texts, ${tasks.length} tasks: largest difference ${most}`);
  assert.ok(most <= TOLERANCE, `${most}`);
});

test("tags, answers and vectors are Python's", async () => {
  const expected = json<{
    texts: string[];
    question: string;
    tag: { words: boolean; max_length: number | null; stride: number; tags: Placed[][] }[];
    answer: { context: string; top: number; max_tokens: number; max_length: number | null; stride: number; spans: Placed[] }[];
    embed: number[][];
  }>("kinds.json");
  const found = await page.evaluate(async ({ texts, question, tag, answer }) => {
    const address = "/runtime.js";
    const osd = (await import(address)) as Runtime;
    osd.ort.env.wasm.wasmPaths = new URL("/ort/", location.href).href;
    const session = await osd.EdgeSession.create("/base", { encoder: osd.textEncoder });
    for (const kind of ["token-labels", "spans", "embedding"]) {
      await session.load(`/kind-${kind}.osd.safetensors`);
    }
    const result: { tags: Placed[][][]; spans: Placed[][]; vectors: number[][] } = {
      tags: [],
      spans: [],
      vectors: [],
    };
    for (const { words, max_length, stride } of tag) {
      const options = { task: "token-labels", words, maxLength: max_length ?? undefined, stride };
      result.tags.push(await osd.tag(session, texts, options));
    }
    for (const { context, top, max_tokens, max_length, stride } of answer) {
      const options = { top, maxTokens: max_tokens, maxLength: max_length ?? undefined, stride };
      result.spans.push(
        await osd.answer(session, question, context, { ...options, task: "spans" }),
      );
    }
    const vectors = await osd.embed(session, texts, { task: "embedding" });
    result.vectors = vectors.map((vector) => [...vector]);
    await session.release();
    return result;
  }, expected);
  const places = (all: readonly Placed[]): unknown => all.map(({ score, ...rest }) => rest);
  const same = (ours: readonly Placed[], theirs: readonly Placed[]): void => {
    assert.deepEqual(places(ours), places(theirs));
    ours.forEach(({ score }, i) => assert.ok(Math.abs(score - theirs[i]!.score) <= TOLERANCE));
  };
  expected.tag.forEach(({ tags }, i) => tags.forEach((of, j) => same(found.tags[i]![j]!, of)));
  expected.answer.forEach(({ spans }, i) => same(found.spans[i]!, spans));
  expected.embed.flat().forEach((x, i) => {
    assert.ok(Math.abs(found.vectors.flat()[i]! - x) <= TOLERANCE);
  });
});

interface Placed {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly score: number;
}
