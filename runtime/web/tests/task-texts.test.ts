/** Tasks that cut texts in their own way or have a prompt: tokens and answers are Python's. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { BaseManifest, TaskText, TextEncoding, TextWindow } from "../src/core.js";
import { type Answer, answer, classify, embed, encode, EdgeSession, type Span, tag, type Tag } from "../src/node.js";
import { textEncoder } from "../src/text.js";
import { fixture, FIXTURES } from "./fixtures.js";
import { code } from "./refusal.js";

interface Made {
  readonly name: string;
  readonly tokenizer: object;
  readonly cases: {
    readonly settings: TaskText;
    readonly text: string;
    readonly pair: string | null;
    readonly max_length: number | null;
    readonly ids: number[];
    readonly types: number[];
    readonly windows_of?: string;
    readonly stride?: number;
    readonly windows?: { ids: number[]; tokens: ([number, number, number] | null)[] }[];
  }[];
}

interface Answers {
  readonly texts: string[];
  readonly question: string;
  readonly classify: Answer[];
  readonly embed: number[][];
  readonly tag: Tag[][];
  readonly answer: Span[];
  readonly ids: number[][];
}

const BASE = fileURLToPath(new URL("base", FIXTURES));
const manifest = { text: { maxLength: 64, padId: 0 } } as BaseManifest;
const made = json<Made[]>("task-texts.json");
const expected = json<Answers>("task-answers.json");
const KINDS = ["labels", "embedding", "token-labels", "spans"];

function json<T>(name: string): T {
  return JSON.parse(new TextDecoder().decode(fixture(name))) as T;
}

function bundle(kind: string): Uint8Array {
  return fixture(`text-${kind}.osd.safetensors`);
}

function close(found: ArrayLike<number>, wanted: readonly number[]): void {
  assert.equal(found.length, wanted.length);
  wanted.forEach((x, i) => assert.ok(Math.abs(found[i]! - x) <= 1e-4, `${found[i]}, ${x}`));
}

/** Tags or spans, but for their scores, which are compared by themselves. */
function samePlaces<T extends Tag | Span>(found: readonly T[], wanted: readonly T[]): void {
  const place = ({ score, ...rest }: T): unknown => rest;
  assert.deepEqual(found.map(place), wanted.map(place));
  close(found.map(({ score }) => score), wanted.map(({ score }) => score));
}

function places(window: TextWindow): unknown {
  return window.tokens.map((token) => token && [token.start, token.end]);
}

test("a prompt of endless length is refused", async () => {
  const encoder = textEncoder(JSON.stringify(made[0]!.tokenizer), manifest);
  encoder.of!({ prompt: "a".repeat(4096) });
  encoder.of!({ prompt: "\u{1f600}".repeat(4096) }); // characters, as Python counts them
  for (const letter of ["a", "\u{1f600}"]) {
    assert.equal(await code(() => encoder.of!({ prompt: letter.repeat(4097) })), "task.needs");
  }
});

for (const { name, tokenizer, cases } of made) {
  test(`${name}: texts are cut as the task says`, () => {
    const encoder = textEncoder(JSON.stringify(tokenizer), manifest);
    for (const { settings, text, pair, max_length, ids, types, ...windows } of cases) {
      const own = encoder.of!(settings);
      const found = own.encode([text], pair === null ? undefined : [pair], max_length ?? undefined);
      const about = `${JSON.stringify(settings)}, ${text.slice(0, 20)}, ${pair?.slice(0, 20)}`;
      assert.deepEqual([...(found.input_ids as Int32Array)], ids, about);
      assert.deepEqual([...(found.token_type_ids as Int32Array)], types, about);
      if (windows.windows === undefined) continue;
      const laid = own.windows!(windows.windows_of!, null, { stride: windows.stride });
      const wanted = windows.windows;
      assert.deepEqual(laid.map((window) => window.ids), wanted.map((window) => window.ids), about);
      const placed = wanted.map(({ tokens }) => tokens.map((token) => token && token.slice(0, 2)));
      assert.deepEqual(laid.map(places), placed, about);
    }
  });
}

test("answers to long texts are Python's, in every kind", async () => {
  const session = await EdgeSession.create(BASE, { encoder: textEncoder });
  for (const kind of KINDS) await session.load(bundle(kind));
  const { texts, question } = expected;
  const pairs = [...texts].reverse();
  const answers = await classify(session, texts, { pairs, task: "text-labels" });
  assert.deepEqual(answers.map(({ label }) => label), expected.classify.map(({ label }) => label));
  answers.forEach(({ scores }, i) =>
    close(Object.values(scores), Object.values(expected.classify[i]!.scores)),
  );
  const vectors = await embed(session, texts, { task: "text-embedding" });
  vectors.forEach((vector, i) => close(vector, expected.embed[i]!));
  const tags = await tag(session, texts, { task: "text-token-labels", stride: 6 });
  tags.forEach((found, i) => samePlaces(found, expected.tag[i]!));
  const options = { task: "text-spans", stride: 6, top: 3 };
  samePlaces(await answer(session, question, texts[0]!, options), expected.answer);
});

test("encode makes what a run with the task needs", async () => {
  const session = await EdgeSession.create(BASE, { encoder: textEncoder });
  const task = await session.load(bundle("embedding"));
  const { texts } = expected;
  const inputs = encode(session, texts, { task });
  assert.deepEqual([...(inputs.input_ids as Int32Array)], expected.ids.flat());
  close((await session.run(inputs, { task })).logits!, expected.embed.flat());
  assert.deepEqual(encode(session, texts).dims, [texts.length, 64]);
  session.activate(task);
  assert.deepEqual(encode(session, texts), inputs);
  assert.deepEqual(encode(session, texts, { task: null }).dims, [texts.length, 64]);
  // What is asked for is one more bound, and never more than the base takes.
  assert.deepEqual(encode(session, texts, { maxLength: 5 }).dims, [texts.length, 5]);
  assert.deepEqual(encode(session, texts, { maxLength: 64 }).dims, [texts.length, 16]);
  assert.equal(await code(() => encode(session, texts, { maxLength: 65 })), "input.max-length");
});

test("an encoder that knows nothing of a task's settings is not asked for its texts", async () => {
  const simple = (text: string, manifest: BaseManifest): TextEncoding => {
    const { encode } = textEncoder(text, manifest);
    return { encode };
  };
  const session = await EdgeSession.create(BASE, { encoder: simple });
  const task = await session.load(bundle("embedding"));
  assert.equal(await code(() => embed(session, ["a cat"], { task })), "task.needs");
  assert.equal(await code(() => encode(session, ["a cat"], { task })), "task.needs");
});
