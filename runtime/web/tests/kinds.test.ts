/** Tasks of every kind, fp16 factors and pictures: what Python's runtime answers. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as web from "onnxruntime-web";
import {
  type Answer,
  answer,
  chosen,
  classify,
  classifyImages,
  EdgeSession as CoreSession,
  embed,
  type Ort,
  type Picture,
  type Span,
  type Tag,
  tag,
} from "../src/core.js";
import { fp16Factors } from "../src/fp16.js";
import { EdgeSession } from "../src/node.js";
import { textEncoder } from "../src/text.js";
import { FIXTURES, fixture, TASKS } from "./fixtures.js";
import { code } from "./refusal.js";

const TOLERANCE = 1e-4;
const KINDS = ["multi-label", "regression", "token-labels", "spans", "embedding"];

interface Expected {
  readonly texts: string[];
  readonly question: string;
  readonly classify: Record<string, Answer[]>;
  readonly tag: (Windows & {
    readonly task: string;
    readonly words: boolean;
    readonly tags: Tag[][];
  })[];
  readonly answer: (Windows & {
    readonly context: string;
    readonly top: number;
    readonly max_tokens: number;
    readonly spans: Span[];
  })[];
  readonly embed: number[][];
}

interface Fp16 {
  readonly cases: {
    readonly text: string;
    readonly first_hidden: number[];
    readonly logits: Record<string, number[]>;
  }[];
  readonly feeds_sha256: Record<string, string>;
}

interface Windows {
  readonly max_length: number | null;
  readonly stride: number;
}

const expected = json<Expected>("kinds.json");

function json<T>(name: string): T {
  return JSON.parse(new TextDecoder().decode(fixture(name))) as T;
}

function open(base: string): Promise<CoreSession> {
  return EdgeSession.create(fileURLToPath(new URL(base, FIXTURES)), { encoder: textEncoder });
}

function openInWeb(base: string): Promise<CoreSession> {
  return CoreSession.open(web as unknown as Ort, async (name) => fixture(`${base}/${name}`), {
    encoder: textEncoder,
  });
}

async function withKinds(session: CoreSession): Promise<CoreSession> {
  for (const kind of KINDS) {
    assert.equal(await session.load(fixture(`kind-${kind}.osd.safetensors`)), kind);
    assert.equal(session.kind(kind), kind);
  }
  return session;
}

function close(found: ArrayLike<number>, wanted: readonly number[], tolerance = TOLERANCE): void {
  assert.equal(found.length, wanted.length);
  wanted.forEach((x, i) => assert.ok(Math.abs(found[i]! - x) <= tolerance, `${found[i]}, ${x}`));
}

function sameAnswers(found: readonly Answer[], wanted: readonly Answer[]): void {
  assert.deepEqual(found.map(({ label }) => label), wanted.map(({ label }) => label));
  found.forEach(({ scores }, i) => {
    assert.deepEqual(Object.keys(scores), Object.keys(wanted[i]!.scores));
    close(Object.values(scores), Object.values(wanted[i]!.scores));
  });
}

/** Tags or spans, but for their scores, which are compared by themselves. */
function samePlaces<T extends Tag | Span>(found: readonly T[], wanted: readonly T[]): void {
  const place = ({ score, ...rest }: T): unknown => rest;
  assert.deepEqual(found.map(place), wanted.map(place));
  close(found.map(({ score }) => score), wanted.map(({ score }) => score));
}

const { texts, question } = expected;
const windows = ({ max_length, stride }: Windows) => ({ maxLength: max_length ?? undefined, stride });

for (const [name, session] of [
  ["onnxruntime-node", withKinds(await open("base"))],
  ["onnxruntime-web", withKinds(await openInWeb("base"))],
] as const) {
  test(`${name}: classify with several labels, and with numbers`, async () => {
    for (const [kind, wanted] of Object.entries(expected.classify)) {
      const found = await classify(await session, texts, { task: kind });
      sameAnswers(found, wanted);
      found.forEach((one, i) => {
        const applies = Object.entries(wanted[i]!.scores).filter(([, score]) => score >= 0.5);
        assert.deepEqual(chosen(one), applies.map(([label]) => label));
      });
    }
  });

  test(`${name}: tags, by token and by word, of texts in one window and in several`, async () => {
    let count = 0;
    await (await session).load(fixture("kind-marks.osd.safetensors"));
    for (const { task, words, tags, ...of } of expected.tag) {
      const options = { words, task, ...windows(of) };
      const found = await tag(await session, texts, options);
      assert.equal(found.length, tags.length);
      found.forEach((one, i) => samePlaces(one, tags[i]!));
      count += found.flat().length;
    }
    assert.ok(count > 50, `${count} tags`);
  });

  test(`${name}: answers in a context, in one window and in several`, async () => {
    for (const { context, top, max_tokens, spans, ...of } of expected.answer) {
      const options = { top, maxTokens: max_tokens, task: "spans", ...windows(of) };
      const found = await answer(await session, question, context, options);
      samePlaces(found, spans);
      for (const { text, start, end } of found) assert.equal(context.slice(start, end), text);
    }
  });

  test(`${name}: vectors of texts`, async () => {
    const found = await embed(await session, texts, { task: "embedding" });
    found.forEach((vector, i) => close(vector, expected.embed[i]!));
  });
}

test("a task of another kind is refused, and none at all", async () => {
  const session = await withKinds(await open("base"));
  const calls: Record<string, (task?: string) => Promise<unknown>> = {
    regression: (task) => classify(session, ["a"], { ...(task && { task }) }),
    "token-labels": (task) => tag(session, ["a"], { ...(task && { task }) }),
    spans: (task) => answer(session, "a", "b", { ...(task && { task }) }),
    embedding: (task) => embed(session, ["a"], { ...(task && { task }) }),
  };
  for (const [kind, call] of Object.entries(calls)) {
    assert.equal(await code(() => call()), "task.none");
    assert.equal(await code(() => call("nothing")), "task.unknown");
    for (const other of Object.keys(calls)) {
      if (other === kind) await call(other);
      else assert.equal(await code(() => call(other)), "task.kind");
    }
  }
  assert.equal(await code(() => tag(session, [], { task: "token-labels" })), "input.texts");
  const without = await EdgeSession.create(fileURLToPath(new URL("base", FIXTURES)));
  await without.load(fixture("kind-spans.osd.safetensors"));
  without.activate("spans");
  assert.equal(await code(() => answer(without, "a", "b")), "base.text");
});

test("all windows of a text have one task, whatever is activated meanwhile", async () => {
  const session = await withKinds(await open("base"));
  session.activate("token-labels");
  const long = texts.at(-1)!;
  const options = { maxLength: 24, stride: 6 };
  const before = await tag(session, [long], options);
  const running = tag(session, [long], options);
  session.unload("token-labels");
  session.activate("spans");
  assert.deepEqual(await running, before);
});

for (const [name, opened] of [
  ["onnxruntime-node", open],
  ["onnxruntime-web", openInWeb],
] as const) {
  test(`${name}: a package that takes factors in fp16 gives Python's logits`, async () => {
    const { cases, feeds_sha256 } = json<Fp16>("fp16.json");
    const session = await opened("fp16");
    for (const task of TASKS) await session.load(fixture(`base-${task}.osd.safetensors`));
    for (const { text, first_hidden, logits } of cases) {
      const inputs = session.encoder!.encode([text]);
      const { hidden } = await session.run(inputs, { task: null });
      close(hidden.subarray(0, first_hidden.length), first_hidden);
      for (const task of TASKS) close((await session.run(inputs, { task })).logits!, logits[task]!);
    }
    for (const task of TASKS) {
      const { feeds } = session.decoded(task)!;
      const digest = createHash("sha256");
      for (const feed of Object.keys(feeds).sort()) {
        digest.update((feeds[feed] as { data: Uint8Array }).data);
      }
      assert.equal(digest.digest("hex"), feeds_sha256[task], "the same bits");
    }
  });
}

test("factors beyond fp16 are refused, however they are shared out", async () => {
  const one = Float32Array.of(1);
  for (const [u, v] of [
    [Float32Array.of(1e30), one],
    [one, Float32Array.of(-1e30)],
  ] as const) {
    assert.equal(await code(() => fp16Factors("task", 1, u, v)), "task.range");
  }
  const [u, v] = fp16Factors("task", 1, Float32Array.of(2 ** -16, 2 ** -20), Float32Array.of(2 ** 16));
  assert.deepEqual([...u, ...v], [0x3c00, 0x2c00, 0x3c00]);
});

test("a decoded task takes half the memory where factors are fp16", async () => {
  const bytes = async (base: string): Promise<number> => {
    const session = await open(base);
    await session.load(fixture("base-first.osd.safetensors"));
    session.activate("first");
    const { feeds } = session.decoded()!;
    const sizes = Object.values(feeds).map((value) => (value as { data: Uint8Array }).data.byteLength);
    return sizes.reduce((a, b) => a + b);
  };
  assert.equal(2 * (await bytes("fp16")), await bytes("base"));
});

test("pictures, with alpha or without, get Python's answers", async () => {
  const { task, pictures, answers } = json<{
    task: string;
    pictures: number[][];
    answers: Answer[];
  }>("pictures.json");
  const session = await open("vit");
  await session.load(fixture("vit-task.osd.safetensors"));
  const opaque = pictures.map((data): Picture => {
    return { width: 16, height: 16, data: Uint8Array.from(data) };
  });
  const withAlpha = opaque.map(({ data }): Picture => {
    const four = Uint8ClampedArray.from({ length: 4 * 256 }, (_, i) =>
      i % 4 === 3 ? 7 : data[3 * (i >> 2) + (i % 4)]!,
    );
    return { width: 16, height: 16, data: four };
  });
  sameAnswers(await classifyImages(session, opaque, { task }), answers);
  sameAnswers(await classifyImages(session, withAlpha, { task }), answers);
  session.activate(task);
  const small = { width: 8, height: 8, data: new Uint8Array(192) };
  assert.equal(await code(() => classifyImages(session, [small])), "input.shape");
  assert.equal(await code(() => classifyImages(session, [])), "input.shape");
  assert.equal(await code(() => classify(session, ["a cat"])), "base.text");
  const ids = { dims: [1, 1] as const, input_ids: [1] };
  assert.equal(await code(() => session.run(ids)), "input.names");
  const pixel_values = new Float32Array(768).fill(Number.NaN);
  const noise = { dims: [1, 3, 16, 16] as const, pixel_values };
  assert.equal(await code(() => session.run(noise)), "input.shape");
  const texts = await open("base");
  assert.equal(await code(() => texts.run(noise)), "input.names");
  await texts.load(fixture("base-first.osd.safetensors"));
  texts.activate("first");
  assert.equal(await code(() => classifyImages(texts, opaque)), "base.image");
});
