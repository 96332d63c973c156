/** The package itself in Chromium, over onnxruntime-web: numbers of Python's runtime. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { type Runtime, RuntimePage } from "./runtime-page.js";

const TOLERANCE = 1e-4;
const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));

let opened: RuntimePage;
let page: Page;

before(async () => {
  opened = await RuntimePage.open(FIXTURES);
  page = opened.page;
});

after(() => opened?.close());

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
  const { cases } = json<{ cases: Case[] }>("fp16.json");
  const tasks = Object.keys(cases[0]!.logits);
  const bundles = Object.fromEntries(tasks.map((task) => [task, `/base-${task}.osd.safetensors`]));
  const most = await difference("/fp16", bundles, cases);
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

test("over MiniLM in int8, logits are Python's as far as int8 is exact", async (t) => {
  const { moved, cases } = json<{ moved: number; cases: Case[] }>("int8.json");
  const tasks = Object.keys(cases[0]!.logits);
  const bundles = Object.fromEntries(tasks.map((task) => [task, `/minilm-${task}.osd.safetensors`]));
  const most = await difference("/minilm-int8", bundles, cases);
  t.diagnostic(`largest difference ${most}; int8 moves Python's own logits by ${moved}`);
  // The least difference before a rounding grows to a whole step after it, and so on from layer to
  // layer: two runtimes may be as far apart as int8 and fp32 are, each on its own side.
  assert.ok(most <= 2 * moved, `${most}, ${moved}`);
});

test("tags, answers and vectors are Python's", async () => {
  const expected = json<{
    texts: string[];
    question: string;
    tag: { task: string; words: boolean; max_length: number | null; stride: number; tags: Placed[][] }[];
    answer: { context: string; top: number; max_tokens: number; max_length: number | null; stride: number; spans: Placed[] }[];
    embed: number[][];
  }>("kinds.json");
  const found = await page.evaluate(async ({ texts, question, tag, answer }) => {
    const address = "/runtime.js";
    const osd = (await import(address)) as Runtime;
    osd.ort.env.wasm.wasmPaths = new URL("/ort/", location.href).href;
    const session = await osd.EdgeSession.create("/base", { encoder: osd.textEncoder });
    for (const kind of ["token-labels", "marks", "spans", "embedding"]) {
      await session.load(`/kind-${kind}.osd.safetensors`);
    }
    const result: { tags: Placed[][][]; spans: Placed[][]; vectors: number[][] } = {
      tags: [],
      spans: [],
      vectors: [],
    };
    for (const { task, words, max_length, stride } of tag) {
      const options = { task, words, maxLength: max_length ?? undefined, stride };
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
