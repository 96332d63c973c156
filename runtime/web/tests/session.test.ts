import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import * as web from "onnxruntime-web";
import {
  classify,
  EdgeSession as CoreSession,
  type Ort,
  type OsdEdgeError,
  readBundle,
} from "../src/core.js";
import { EdgeSession } from "../src/node.js";
import { onnxruntime } from "../src/node-ort.js";
import { encoderOf } from "../src/of-kind.js";
import { textEncoder } from "../src/text.js";
import { expected, FIXTURES, fixture, TASKS } from "./fixtures.js";
import { code } from "./refusal.js";
import { withKeys } from "./surgery.js";

const BASE = fileURLToPath(new URL("base", FIXTURES));
const TOLERANCE = 1e-4;
const cases = expected();

const bundle = (task: string, base = "base"): Uint8Array =>
  fixture(`${base}-${task}.osd.safetensors`);

async function sessionWithTasks(cacheBytes?: number): Promise<CoreSession> {
  const options = cacheBytes === undefined ? {} : { cacheBytes };
  const session = await EdgeSession.create(BASE, { encoder: textEncoder, ...options });
  for (const task of TASKS) await session.load(bundle(task));
  return session;
}

function close(found: Float32Array, wanted: readonly number[]): void {
  wanted.forEach((x, i) => assert.ok(Math.abs(found[i]! - x) <= TOLERANCE, `${found[i]}, ${x}`));
}

const runtimes: [string, () => Promise<CoreSession>][] = [
  ["onnxruntime-node", () => EdgeSession.create(BASE, { encoder: textEncoder })],
  [
    "onnxruntime-web",
    () =>
      CoreSession.open(web as unknown as Ort, async (name) => fixture(`base/${name}`), {
        encoder: textEncoder,
      }),
  ],
];

for (const [name, open] of runtimes) {
  test(`${name}: tokens are Python's, hidden states and logits within 1e-4`, async () => {
    const session = await open();
    for (const task of TASKS) await session.load(bundle(task));
    assert.deepEqual(session.tasks, TASKS);
    for (const { text, pair, ids, types, first_hidden, logits } of cases) {
      const inputs = session.encoder!.encode([text], pair === null ? undefined : [pair]);
      assert.deepEqual([...(inputs.input_ids as Int32Array)], ids, text);
      assert.deepEqual([...(inputs.token_type_ids as Int32Array)], types, text);
      close((await session.run(inputs, { task: null })).hidden, first_hidden);
      for (const task of TASKS) {
        const output = await session.run(inputs, { task });
        assert.equal(output.task, task);
        close(output.logits!, logits[task]!);
      }
    }
    await session.release();
  });
}

test("without a task again, the base's hidden states are the same to the last bit", async () => {
  const session = await sessionWithTasks();
  const inputs = session.encoder!.encode(["the cat sat on a mat"]);
  const before = (await session.run(inputs)).hidden.slice();
  for (const task of TASKS) {
    session.activate(task);
    assert.notDeepEqual((await session.run(inputs)).hidden, before);
  }
  session.deactivate();
  assert.deepEqual((await session.run(inputs)).hidden, before);
});

test("a batch gives each text the answer it has alone", async () => {
  const session = await sessionWithTasks();
  session.activate("first");
  const texts = ["the cat", "a dog ran under the mat", "bird"];
  const together = await classify(session, texts);
  for (const [i, text] of texts.entries()) {
    const [alone] = await classify(session, [text]);
    assert.equal(alone!.label, together[i]!.label);
    assert.ok(Math.abs(alone!.score - together[i]!.score) < TOLERANCE);
    const sum = Object.values(alone!.scores).reduce((a, b) => a + b);
    assert.ok(Math.abs(sum - 1) < 1e-5);
  }
});

test("runs asked for at once have each the task that was active then", async () => {
  const session = await sessionWithTasks();
  const inputs = session.encoder!.encode(["the cat"]);
  const runs = TASKS.map((task) => {
    session.activate(task);
    return session.run(inputs);
  });
  session.deactivate();
  const outputs = await Promise.all(runs);
  assert.deepEqual(outputs.map(({ task }) => task), TASKS);
  for (const { task, logits } of outputs) {
    assert.deepEqual(logits, (await session.run(inputs, { task })).logits);
  }
});

test("a small cache gives the same answers", async () => {
  const [large, small] = [await sessionWithTasks(), await sessionWithTasks(0)];
  const inputs = large.encoder!.encode(["a bird flew over"]);
  for (const task of [...TASKS, ...TASKS]) {
    small.activate(task);
    assert.equal(small.active, task);
    assert.deepEqual((await small.run(inputs)).logits, (await large.run(inputs, { task })).logits);
  }
});

test("loading, unloading and their refusals", async () => {
  const session = await sessionWithTasks();
  assert.equal(await code(() => session.load(bundle("first"))), "task.taken");
  assert.equal(await session.load(bundle("first"), "again"), "again");
  assert.deepEqual(session.labels("again"), ["red", "green", "blue"]);
  session.activate("again");
  session.unload("again");
  assert.equal(session.active, null);
  assert.equal(await code(() => session.activate("again")), "task.unknown");
  assert.equal(await code(() => session.unload("again")), "task.unknown");
  assert.equal(await code(() => classify(session, ["a"])), "task.none");
  assert.equal(await code(() => session.load(bundle("second"), "../x")), "input.task-name");
  assert.equal(await code(() => session.load(bundle("first", "other"))), "bundle.base");
  const damaged = bundle("first");
  damaged[damaged.length - 1]! ^= 1;
  assert.equal(await code(() => session.load(damaged, "damaged")), "bundle.digest");
  assert.deepEqual(session.tasks, TASKS);
});

test("inputs of the wrong shape or kind are refused", async () => {
  const session = await sessionWithTasks();
  const refused = (inputs: Parameters<CoreSession["run"]>[0]): Promise<string> =>
    code(() => session.run(inputs));
  assert.equal(await refused({ dims: [1, 2], input_ids: [1, 2, 3] }), "input.shape");
  assert.equal(await refused({ dims: [1, 0], input_ids: [] }), "input.shape");
  assert.equal(await refused({ dims: [1, 2], input_ids: [1, -1] }), "input.shape");
  assert.equal(await refused({ dims: [1, 2], input_ids: [1, 1.5] }), "input.shape");
  assert.equal(
    await refused({ dims: [1, 2], input_ids: [1, 2], attention_mask: [1] }),
    "input.shape",
  );
  assert.equal(await refused({ dims: [1, 1], input_ids: [10 ** 6] }), "input.run");
  const encode = (texts: string[], most?: number): unknown =>
    session.encoder!.encode(texts, undefined, most);
  assert.equal(await code(() => encode([])), "input.texts");
  assert.equal(await code(() => encode(["\ud800"])), "input.texts");
  assert.equal(await code(() => encode(["a"], 65)), "input.max-length");
});

test("what need not be applied to run token ids does not keep a task from being loaded", async () => {
  const session = await EdgeSession.create(BASE);
  const malformed = withKeys(bundle("first"), { "osd.text": '{"max_length":0}' });
  assert.equal(await code(() => session.load(malformed)), "bundle.text");
  const probe = '{"tolerance":0.1,"cases":[{"ids":[2,3],"logits":[0.5]}]}';
  const text = '{"max_length":8,"prompt":"query: "}';
  const others = { "osd.probe": probe, "osd.sequence": "7", "osd.text": text };
  assert.equal(await session.load(withKeys(bundle("first"), others)), "first");
  assert.deepEqual(session.decoded("first")!.text, { max_length: 8, prompt: "query: " });
});

test("results that are not finite are refused, those of padding aside", async () => {
  const session = await sessionWithTasks();
  const kinds = ["token-labels", "spans", "embedding"];
  for (const kind of kinds) await session.load(fixture(`kind-${kind}.osd.safetensors`), kind);
  const { hiddenOutput, poolerOutput, hiddenSize } = session.manifest;
  const inner = session.session;
  const run = inner.run.bind(inner) as (...given: unknown[]) => Promise<Results>;
  type Results = Record<string, { data: Float32Array }>;
  /** The code of a run of two rows of three tokens, the last one padding, with `value` at `i`. */
  const withValue = (value: number, name: string, i: number, task: string | null): Promise<string> => {
    Object.assign(inner, {
      run: async (...given: unknown[]) => {
        const results = await run(...given);
        results[name]!.data[i] = value;
        return results;
      },
    });
    const mask = [1, 1, 1, 1, 1, 0];
    const inputs = { dims: [2, 3], input_ids: [2, 5, 3, 2, 3, 0], attention_mask: mask } as const;
    return session.run(inputs, { task }).then(
      () => "",
      (error: unknown) => (error as OsdEdgeError).code,
    );
  };
  const padding = 5 * hiddenSize;
  for (const value of [NaN, Infinity, -Infinity]) {
    for (const [name, i, wanted] of [
      [hiddenOutput, 4 * hiddenSize + 1, "base.graph"],
      [hiddenOutput, padding - 1, "base.graph"],
      [hiddenOutput, padding, ""],
      [poolerOutput!, 2 * hiddenSize - 1, "base.graph"],
    ] as const) {
      assert.equal(await withValue(value, name, i, null), wanted, `${value}, ${name} ${i}`);
    }
    for (const task of ["token-labels", "spans"]) {
      assert.equal(await withValue(value, hiddenOutput, padding - 1, task), "task.not-finite");
      assert.equal(await withValue(value, hiddenOutput, padding, task), "");
    }
    assert.equal(await withValue(value, hiddenOutput, 0, "embedding"), "task.not-finite");
  }
  for (const task of TASKS) {
    const found = [
      await withValue(NaN, hiddenOutput, 0, task),
      await withValue(NaN, poolerOutput!, 0, task),
    ];
    assert.ok(found.includes("task.not-finite"), `${task}: ${found.join()}`);
  }
});

test("results that are not of the shape and type that the manifest tells are refused", async () => {
  const session = await EdgeSession.create(BASE);
  const inner = session.session;
  const { hiddenOutput, poolerOutput, hiddenSize } = session.manifest;
  const run = inner.run.bind(inner) as (...given: unknown[]) => Promise<Record<string, unknown>>;
  const asked = { dims: [1, 2], input_ids: [1, 2] } as const;
  const giving = (name: string, type: "float32" | "int32", ...dims: number[]): Promise<unknown> => {
    const data = new (type === "float32" ? Float32Array : Int32Array)(dims.reduce((a, b) => a * b));
    const tensor = new (web.Tensor as unknown as new (...given: unknown[]) => unknown)(type, data, dims);
    Object.assign(inner, {
      run: async (...given: unknown[]) => ({ ...(await run(...given)), [name]: tensor }),
    });
    return session.run(asked);
  };
  await giving(hiddenOutput, "float32", 1, 2, hiddenSize);
  for (const dims of [[1, 3, hiddenSize], [2, 2, hiddenSize], [1, 2, hiddenSize - 1], [2, hiddenSize]]) {
    assert.equal(await code(() => giving(hiddenOutput, "float32", ...dims)), "base.graph");
  }
  assert.equal(await code(() => giving(hiddenOutput, "int32", 1, 2, hiddenSize)), "base.graph");
  assert.equal(await code(() => giving(poolerOutput!, "float32", 1, 1, hiddenSize)), "base.graph");
});

test("a base and a bundle come over HTTP too", async () => {
  const server = createServer((request, response) => {
    try {
      response.end(fixture(request.url!.slice(1)));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const session = await EdgeSession.create(`${address}/base`);
  const url = new URL(`${address}/base-first.osd.safetensors`);
  assert.equal(await session.load(url), "first");
  assert.equal(await code(() => session.load(`${address}/none`)), "bundle.missing");
  assert.equal(await code(() => EdgeSession.create(`${address}/none`)), "base.missing");
  server.close();
  server.closeAllConnections();
});

test("an ArrayBuffer is data and no path, as any view of one, of another realm too", async () => {
  const own = bundle("first");
  const buffer = own.buffer.slice(own.byteOffset, own.byteOffset + own.byteLength) as ArrayBuffer;
  const within = new Uint8Array(buffer.byteLength + 5);
  within.set(own, 3);
  const elsewhere = vm.runInNewContext(`new ArrayBuffer(${own.byteLength})`) as ArrayBuffer;
  assert.ok(!(elsewhere instanceof ArrayBuffer));
  new Uint8Array(elsewhere).set(own);
  const session = await EdgeSession.create(BASE, { encoder: textEncoder });
  const forms = { buffer, view: new DataView(within.buffer, 3, own.byteLength), elsewhere };
  await session.load(own, "own");
  const answers = [await classify(session, ["the cat"], { task: "own" })];
  for (const [name, bytes] of Object.entries(forms)) {
    assert.equal(await session.load(bytes, name), name);
    assert.equal(readBundle(bytes).task, "first");
    answers.push(await classify(session, ["the cat"], { task: name }));
  }
  for (const answer of answers) assert.deepEqual(answer, answers[0]);
  assert.equal(await code(() => session.load(buffer.slice(0, 100))), "bundle.header-length");
});

test("a package whose files come as ArrayBuffers opens", async () => {
  const ort = (await onnxruntime()) as Ort;
  const files = async (name: string): Promise<ArrayBuffer> => {
    const bytes = fixture(`base/${name}`);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  };
  const session = await CoreSession.open(ort, files, { encoder: textEncoder });
  await session.load(bundle("first"));
  const [mine] = await classify(session, ["the cat"], { task: "first" });
  const other = await sessionWithTasks();
  assert.deepEqual(mine, (await classify(other, ["the cat"], { task: "first" }))[0]);
});

test("a session without an encoder that is asked about texts says what to give", async () => {
  const session = await EdgeSession.create(BASE);
  session.activate(await session.load(bundle("first")));
  assert.throws(
    () => void encoderOf(session, null),
    ({ code: found, message }: OsdEdgeError) =>
      found === "base.text" && /option encoder.*osd-edge\/text/s.test(message) && !/copy/.test(message),
  );
  assert.equal(await code(() => classify(session, ["the cat"])), "base.text");
});

test("in Node a base and a bundle come from the disk, by path or file: address", async () => {
  const session = await EdgeSession.create(new URL("base", FIXTURES));
  const path = fileURLToPath(new URL("base-first.osd.safetensors", FIXTURES));
  assert.equal(await session.load(path), "first");
  assert.equal(await session.load(relative(process.cwd(), path), "relative"), "relative");
  assert.equal(await session.load(new URL("base-second.osd.safetensors", FIXTURES)), "second");
  assert.equal(await code(() => session.load("none.osd.safetensors")), "bundle.missing");
  assert.equal(await code(() => session.load(BASE)), "bundle.missing");
  assert.deepEqual(session.tasks, ["first", "relative", "second"]);
});

test("onnxruntime-web takes the place of an onnxruntime-node that is not there, not of a broken one", async () => {
  const failed = (name: string) => (): Promise<Ort> => import(name);
  const absent = await failed("not-there-at-all")().catch((error: NodeJS.ErrnoException) => error);
  const { code: found, message } = absent as NodeJS.ErrnoException;
  const missing = (): never => {
    const said = message.replaceAll("not-there-at-all", "onnxruntime-node");
    throw Object.assign(new Error(said), { code: found });
  };
  assert.equal((await onnxruntime(async () => missing())).Tensor, web.Tensor);
  const broken = Object.assign(new Error("cannot open libonnxruntime.so"), { code: "ERR_DLOPEN_FAILED" });
  await assert.rejects(onnxruntime(async () => Promise.reject(broken)), broken);
  await assert.rejects(onnxruntime(failed("not-there-at-all")), { code: "ERR_MODULE_NOT_FOUND" });
});

test("a damaged base is refused, whatever is damaged", async () => {
  const files = (change: Record<string, (bytes: Uint8Array) => Uint8Array>) =>
    EdgeSession.create(async (name) => {
      const bytes = fixture(`base/${name}`);
      return change[name]?.(bytes) ?? bytes;
    });
  const text = (from: string, to: string) => (bytes: Uint8Array) =>
    new TextEncoder().encode(new TextDecoder().decode(bytes).replace(from, to));
  const cut = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, bytes.length - 9);
  const noise = (bytes: Uint8Array): Uint8Array => bytes.map((x, i) => (i < 99 ? 255 : x));
  for (const [change, wanted] of [
    [{ "manifest.json": cut }, "base.manifest"],
    [{ "manifest.json": text('"format": 1', '"format": 2') }, "base.version"],
    [{ "manifest.json": text('"hidden_size"', '"hidden"') }, "base.manifest"],
    [{ "manifest.json": text('"factors": "fp32"', '"factors": "int8"') }, "base.manifest"],
    [{ "manifest.json": text('"factors": "fp32"', '"factors": null') }, "base.manifest"],
    [{ "manifest.json": text('"image": null', '"image": {}') }, "base.manifest"],
    [{ "manifest.json": text('query.u"', 'query.w"') }, "base.graph"],
    [{ "model.onnx": cut }, "base.file"],
    [{ "model.onnx": noise }, "base.graph"],
    [{ "model.onnx.data": cut }, "base.file"],
  ] as const) {
    assert.equal(await code(() => files(change)), wanted, wanted);
  }
  assert.equal(await code(() => EdgeSession.create("/nowhere")), "base.missing");
});
