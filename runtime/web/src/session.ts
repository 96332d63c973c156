/** EdgeSession: one onnxruntime session over one base, and tasks swapped in by what is fed. */

import type { InferenceSession, Tensor, TensorConstructor } from "onnxruntime-common";
import { type BaseFiles, fetchBytes } from "./base-files.js";
import type { Bundle } from "./bundle.js";
import { readBundle, TASK_NAME } from "./bundle-reader.js";
import { baseError, bundleError, InputError, reasonOf, shown, TaskError } from "./errors.js";
import { requireInputs } from "./graph.js";
import { applyHead, type Kind, sigmoid, softmax } from "./heads.js";
import {
  type BaseManifest,
  checkFits,
  factorNames,
  fileFacts,
  MANIFEST,
  MODEL,
  parseManifest,
  TOKENIZER,
  type TokenInput,
  WEIGHTS,
} from "./manifest.js";
import { type DecodedTask, decodeTask, emptyFeeds, type Feeds } from "./task.js";
import { decodeUtf8 } from "./utf8.js";

/** What EdgeSession needs of onnxruntime-web, onnxruntime-node or onnxruntime-react-native. */
export interface Ort {
  readonly InferenceSession: {
    create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: TensorConstructor;
}

export interface SessionOptions {
  /** Bytes of decoded tasks to keep, the latest used first; 64 MiB unless told otherwise. */
  readonly cacheBytes?: number;
  /** Passed on to onnxruntime. */
  readonly ort?: InferenceSession.SessionOptions;
  /** Turns texts into token inputs: needed by `classify`. `osd-edge/text` makes one. */
  readonly encoder?: (tokenizerJson: string, manifest: BaseManifest) => TextEncoding;
}

/** Token ids of texts; see `osd-edge/text`. */
export interface TextEncoding {
  encode(texts: readonly string[], pairs?: readonly string[], maxLength?: number): RunInputs;
}

/** Token inputs `[batch, tokens]`, flat; the mask defaults to ones, the types to zeros. */
export interface RunInputs {
  readonly dims: readonly [number, number];
  readonly input_ids: ArrayLike<number | bigint>;
  readonly attention_mask?: ArrayLike<number | bigint>;
  readonly token_type_ids?: ArrayLike<number | bigint>;
}

export interface RunOptions {
  /** A loaded task for this run only, or null for the base alone; else the active task. */
  readonly task?: string | null;
}

/** What a run gives, flat: `hidden` `[batch, tokens, hidden]`, `logits` as `applyHead` has them. */
export interface Output {
  readonly task: string | null;
  readonly hidden: Float32Array;
  readonly pooled: Float32Array | null;
  readonly logits: Float32Array | null;
}

/**
 * The likeliest label of one text, its score, and the scores of all labels.
 *
 * Scores add up to 1 where one label applies; each stands for itself in a multi-label task, and
 * they are the numbers themselves in a regression.
 */
export interface Answer {
  readonly label: string;
  readonly score: number;
  readonly scores: Readonly<Record<string, number>>;
}

const CACHE_BYTES = 64 * 2 ** 20;

/**
 * Tasks over one base, in one onnxruntime session that is never rebuilt.
 *
 * A run has the task that was active when it was asked for, whole, whatever happens until it ends.
 * Loaded tasks stay coded until they are used.
 */
export class EdgeSession {
  readonly #bundles = new Map<string, Bundle>();
  readonly #decoded = new Map<string, DecodedTask>(); // the latest used last
  readonly #empty: Feeds;
  #active: DecodedTask | null = null;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly manifest: BaseManifest,
    readonly ort: Ort,
    readonly session: InferenceSession,
    readonly encoder: TextEncoding | null,
    readonly cacheBytes: number,
  ) {
    this.#empty = emptyFeeds(manifest, ort);
  }

  /**
   * Open the base package whose files `files` gives, over onnxruntime `ort`.
   *
   * Throws BaseError. Sizes of the files are checked, digests are not: they belong to the
   * installation, since hashing takes longer than opening.
   */
  static async open(ort: Ort, files: BaseFiles, options: SessionOptions = {}): Promise<EdgeSession> {
    const manifest = parseManifest(await readText(files, MANIFEST));
    const read = async (name: string): Promise<Uint8Array> => {
      const expected = fileFacts(manifest, name).bytes;
      const bytes = await files(name);
      if (bytes.length !== expected) {
        throw baseError("file", `${name} has ${bytes.length} bytes, expected ${expected}`);
      }
      return bytes;
    };
    const names = factorNames(manifest);
    const model = requireInputs(await read(MODEL), new Set(names));
    let encoder: TextEncoding | null = null;
    if (options.encoder !== undefined && manifest.text !== null) {
      encoder = options.encoder(await readText(read, TOKENIZER), manifest);
    }
    const session = await openGraph(ort, model, await read(WEIGHTS), options.ort);
    checkGraph(session, manifest, names);
    const cacheBytes = options.cacheBytes ?? CACHE_BYTES;
    return new EdgeSession(manifest, ort, session, encoder, cacheBytes);
  }

  /** Names of the loaded tasks, in the order they were loaded. */
  get tasks(): string[] {
    return [...this.#bundles.keys()];
  }

  /** Name of the active task, null where there is none. */
  get active(): string | null {
    return this.#active?.name ?? null;
  }

  /** Labels of a loaded task, in the order of its logits. Throws TaskError `task.unknown`. */
  labels(name: string): readonly string[] {
    return this.#bundle(name).labels;
  }

  /**
   * Check a bundle, given as its bytes or an address, and keep it, coded; returns its name.
   *
   * `name` replaces the name in the bundle. Throws BundleError where it is damaged or made for
   * another base, TaskError `task.taken` where the name is in use.
   */
  async load(bundle: Uint8Array | string | URL, name?: string): Promise<string> {
    const bytes = bundle instanceof Uint8Array ? bundle : await fetchBundle(bundle);
    return this.loadBytes(bytes, name);
  }

  /** As `load`, at once. */
  loadBytes(bytes: Uint8Array, name?: string): string {
    const bundle = readBundle(bytes);
    checkFits(bundle, this.manifest);
    if (name !== undefined && !TASK_NAME.test(name)) {
      throw new InputError("input.task-name", `expected a task name, found ${shown(name)}`);
    }
    const task = name ?? bundle.task;
    if (this.#bundles.has(task)) {
      throw new TaskError("task.taken", `unload ${task} first`);
    }
    this.#bundles.set(task, bundle);
    return task;
  }

  /** Make a loaded task the one that runs use. Throws TaskError `task.unknown`. */
  activate(name: string): void {
    this.#active = this.#decode(name);
  }

  /** Return to the base: runs give exactly what they gave before any task. */
  deactivate(): void {
    this.#active = null;
  }

  /** Forget a loaded task, and deactivate it if it is active. Throws TaskError `task.unknown`. */
  unload(name: string): void {
    this.#bundle(name);
    if (this.active === name) this.#active = null;
    this.#decoded.delete(name);
    this.#bundles.delete(name);
  }

  /** Run token inputs through the base with a task. Throws InputError, TaskError. */
  async run(inputs: RunInputs, options: RunOptions = {}): Promise<Output> {
    return this.#forward(inputs, this.#resolve(options.task));
  }

  /**
   * Label and scores of each text (or pair of texts), in one batch.
   *
   * Throws TaskError `task.none` without a task, `task.kind` for a task without a score for each
   * label (its logits come from `run`), BaseError `base.text` without an encoder.
   */
  async classify(
    texts: readonly string[],
    options: RunOptions & { readonly pairs?: readonly string[]; readonly maxLength?: number } = {},
  ): Promise<Answer[]> {
    if (this.encoder === null) {
      throw baseError("text", "no tokenizer or no encoder");
    }
    const task = this.#resolve(options.task);
    if (task === null) {
      throw new TaskError("task.none", "no task is active");
    }
    const { kind } = task.head;
    if (!["labels", "multi-label", "regression"].includes(kind)) {
      throw new TaskError("task.kind", `${task.name} is of the kind ${kind}: see run`);
    }
    const inputs = this.encoder.encode(texts, options.pairs, options.maxLength);
    const { logits } = await this.#forward(inputs, task);
    const width = task.labels.length;
    return texts.map((_, i) =>
      answer(kind, task.labels, (logits as Float32Array).subarray(i * width, (i + 1) * width)),
    );
  }

  /** Give the memory back; the session is of no use afterwards. */
  async release(): Promise<void> {
    await this.#last.catch(() => {});
    this.#bundles.clear();
    this.#decoded.clear();
    this.#active = null;
    await this.session.release();
  }

  #resolve(task: string | null | undefined): DecodedTask | null {
    if (task === undefined) return this.#active;
    return task === null ? null : this.#decode(task);
  }

  #bundle(name: string): Bundle {
    const bundle = this.#bundles.get(name);
    if (bundle === undefined) {
      throw new TaskError("task.unknown", `no task ${shown(name)} among: ${this.tasks.join(", ")}`);
    }
    return bundle;
  }

  #decode(name: string): DecodedTask {
    const bundle = this.#bundle(name);
    const decoded = this.#decoded.get(name) ?? decodeTask(name, bundle, this.manifest, this.ort);
    this.#decoded.delete(name);
    this.#decoded.set(name, decoded);
    let bytes = 0;
    for (const task of this.#decoded.values()) bytes += task.bytes;
    for (const [oldest, task] of this.#decoded) {
      if (bytes <= this.cacheBytes) break;
      this.#decoded.delete(oldest);
      bytes -= task.bytes;
    }
    return decoded;
  }

  async #forward(inputs: RunInputs, task: DecodedTask | null): Promise<Output> {
    const tokens = this.#tokenInputs(inputs);
    const feeds: Feeds = { ...this.#empty, ...task?.feeds, ...tokens };
    const { hiddenOutput, poolerOutput } = this.manifest;
    const outputs = poolerOutput === null ? [hiddenOutput] : [hiddenOutput, poolerOutput];
    // onnxruntime for JavaScript runs a session once at a time; what is asked for meanwhile waits.
    const run = this.#last.catch(() => {}).then(() => this.session.run(feeds, outputs));
    this.#last = run;
    let results: Awaited<typeof run>;
    try {
      results = await run;
    } catch (error) {
      throw new InputError("input.run", reasonOf(error));
    }
    const hidden = results[hiddenOutput]?.data as Float32Array;
    const pooled = (poolerOutput && (results[poolerOutput]?.data as Float32Array)) || null;
    if (task === null) return { task: null, hidden, pooled, logits: null };
    const [batch, length] = inputs.dims;
    const mask = (tokens.attention_mask as Tensor).data as BigInt64Array;
    const logits = applyHead(task.head, { hidden, batch, tokens: length, mask, pooled });
    return { task: task.name, hidden, pooled, logits };
  }

  /** The base's own inputs as int64 tensors `[batch, tokens]`, defaults filled in. */
  #tokenInputs(inputs: RunInputs): Partial<Record<TokenInput, Tensor>> {
    const [batch, length] = inputs.dims;
    const size = batch * length;
    if (![batch, length].every((x) => Number.isInteger(x) && x > 0)) {
      throw new InputError("input.shape", `dims are [${inputs.dims}]`);
    }
    const tensors: Partial<Record<TokenInput, Tensor>> = {};
    for (const name of this.manifest.inputs) {
      const given = inputs[name];
      if (given === undefined && name === "input_ids") {
        throw new InputError("input.names", "no input_ids");
      }
      if (given !== undefined && given.length !== size) {
        throw new InputError(
          "input.shape",
          `${name}: expected [${batch}, ${length}], found ${given.length} numbers`,
        );
      }
      const ids = new BigInt64Array(size).fill(name === "attention_mask" ? 1n : 0n);
      for (let i = 0; given !== undefined && i < size; i++) ids[i] = tokenId(name, given[i]);
      tensors[name] = new this.ort.Tensor("int64", ids, [batch, length]);
    }
    return tensors;
  }
}

function tokenId(name: string, value: number | bigint | undefined): bigint {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0 || number >= 2 ** 31) {
    throw new InputError("input.shape", `${name} holds ${shown(String(value))}, no token id`);
  }
  return BigInt(number);
}

function answer(kind: Kind, labels: readonly string[], logits: Float32Array): Answer {
  const scored = { "multi-label": sigmoid, labels: softmax } as Partial<Record<Kind, typeof sigmoid>>;
  const scores = scored[kind]?.(logits) ?? logits;
  const best = scores.indexOf(scores.reduce((a, b) => Math.max(a, b)));
  return {
    label: labels[best] as string,
    score: scores[best] as number,
    scores: Object.fromEntries(labels.map((label, i) => [label, scores[i] as number])),
  };
}

async function readText(files: BaseFiles, name: string): Promise<string> {
  const text = decodeUtf8(await files(name));
  if (text === null) throw baseError("manifest", `${name} is not UTF-8`);
  return text;
}

async function fetchBundle(address: string | URL): Promise<Uint8Array> {
  try {
    return await fetchBytes(address);
  } catch (error) {
    throw bundleError("missing", `${shown(String(address))}: ${reasonOf(error)}`);
  }
}

async function openGraph(
  ort: Ort,
  model: Uint8Array,
  weights: Uint8Array,
  options: InferenceSession.SessionOptions | undefined,
): Promise<InferenceSession> {
  try {
    return await ort.InferenceSession.create(model, {
      logSeverityLevel: 3,
      ...options,
      externalData: [{ path: WEIGHTS, data: weights }],
    });
  } catch (error) {
    throw baseError("graph", reasonOf(error));
  }
}

/** Refuse (`base.graph`) a graph that is not the one that the manifest describes. */
function checkGraph(
  session: InferenceSession,
  manifest: BaseManifest,
  factors: readonly string[],
): void {
  const sorted = (names: readonly string[]): string => JSON.stringify([...names].sort());
  const same = sorted([...manifest.inputs, ...factors]) === sorted(session.inputNames);
  const { hiddenOutput, poolerOutput } = manifest;
  const outputs = [hiddenOutput, poolerOutput ?? hiddenOutput];
  if (!same || !outputs.every((name) => session.outputNames.includes(name))) {
    throw baseError("graph", `${MODEL} and ${MANIFEST} differ`);
  }
}
