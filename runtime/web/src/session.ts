/** EdgeSession: one onnxruntime session over one base, and tasks swapped in by what is fed. */

import type { InferenceSession, Tensor, TensorConstructor } from "onnxruntime-web";
import { type BaseFiles, fetchBytes } from "./base-files.js";
import type { Bundle } from "./bundle.js";
import { readBundle, TASK_NAME } from "./bundle-reader.js";
import { type Bytes, bytesOf, isBytes } from "./bytes.js";
import { baseError, bundleError, inputError, reasonOf, shown, taskError } from "./errors.js";
import { requireInputs } from "./graph.js";
import { applyHead, type Kind } from "./heads.js";
import { baseInputs, type RunInputs } from "./inputs.js";
import { isString } from "./json.js";
import {
  type BaseManifest,
  checkFits,
  factorNames,
  MANIFEST,
  MODEL,
  parseManifest,
  TOKENIZER,
  WEIGHTS,
} from "./manifest.js";
import { type DecodedTask, decodeTask, emptyFeeds, type Feeds } from "./task.js";
import type { TextEncoding } from "./text-encoding.js";
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
  /** Turns texts into token inputs; `osd-edge/text` makes one. */
  readonly encoder?: (tokenizerJson: string, manifest: BaseManifest) => TextEncoding;
}

export interface RunOptions {
  /**
   * For this run only: a loaded task by its name, or one that `decoded` gave, or null for the base
   * alone. The active task where it is left out.
   */
  readonly task?: string | DecodedTask | null;
}

/** What a run gives, flat: `hidden` `[batch, tokens, hidden]`, `logits` as `applyHead` has them. */
export interface Output {
  readonly task: string | null;
  readonly hidden: Float32Array;
  readonly pooled: Float32Array | null;
  readonly logits: Float32Array | null;
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
      const expected = manifest.files.get(name)?.bytes;
      if (expected === undefined) throw baseError("manifest", `${MANIFEST} does not list ${name}`);
      const bytes = bytesOf(await files(name));
      if (bytes.length !== expected) {
        throw baseError("file", `${name} has ${bytes.length} bytes, expected ${expected}`);
      }
      return bytes;
    };
    const names = factorNames(manifest);
    const model = requireInputs(await read(MODEL), new Set(names));
    let encoder: TextEncoding | null = null;
    if (options.encoder && manifest.text) {
      encoder = options.encoder(await readText(read, TOKENIZER), manifest);
    }
    const externalData = [{ path: WEIGHTS, data: await read(WEIGHTS) }];
    const session = await ort.InferenceSession.create(model, {
      logSeverityLevel: 3,
      ...options.ort,
      externalData,
    }).catch((error: unknown) => {
      throw baseError("graph", reasonOf(error));
    });
    const sorted = (all: readonly string[]): string => [...all].sort().join("\n");
    checkGraph(sorted([...manifest.inputs, ...names]) === sorted(session.inputNames));
    checkGraph(outputNames(manifest).every((name) => session.outputNames.includes(name)));
    return new EdgeSession(manifest, ort, session, encoder, options.cacheBytes ?? CACHE_BYTES);
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

  /** Kind of a loaded task. Throws TaskError `task.unknown`. */
  kind(name: string): Kind {
    return this.#bundle(name).head.kind;
  }

  /**
   * Check a bundle, given as its bytes or an address, and keep it, coded; returns its name.
   *
   * `name` replaces the name in the bundle. Throws BundleError where it is damaged or made for
   * another base, TaskError `task.taken` where the name is in use.
   */
  async load(bundle: Bytes | string | URL, name?: string): Promise<string> {
    return this.loadBytes(isBytes(bundle) ? bundle : await fetchBundle(bundle), name);
  }

  /** As `load`, at once. */
  loadBytes(bytes: Bytes, name?: string): string {
    const bundle = readBundle(bytes);
    checkFits(bundle, this.manifest);
    if (name !== undefined && !TASK_NAME.test(name)) {
      throw inputError("task-name", `expected a task name, found ${shown(name)}`);
    }
    const task = name ?? bundle.task;
    if (this.#bundles.has(task)) {
      throw taskError("taken", `${task} is loaded: unload it, or give another name`);
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

  /**
   * Run token inputs, or pictures, through the base with a task.
   *
   * Throws InputError; TaskError, `task.not-finite` where logits are no numbers; BaseError
   * `base.graph` where the base's results are none, or not those of its manifest.
   */
  async run(inputs: RunInputs, options: RunOptions = {}): Promise<Output> {
    const task = this.decoded(options.task);
    const given = baseInputs(this.manifest, inputs, this.ort);
    const [batch, length, height] = inputs.dims;
    const feeds: Feeds = { ...this.#empty, ...task?.feeds, ...given };
    const { hiddenOutput, poolerOutput, hiddenSize } = this.manifest;
    const outputs = outputNames(this.manifest);
    // onnxruntime for JavaScript runs a session once at a time; what is asked for meanwhile waits.
    const run = this.#last.catch(() => {}).then(() => this.session.run(feeds, outputs));
    this.#last = run;
    const results = await run.catch((error: unknown) => {
      throw inputError("run", reasonOf(error));
    });
    // Pictures become as many tokens as the base makes of them.
    const tokens = height ? ((results[hiddenOutput] as Tensor).dims[1] as number) : length;
    const hidden = floats(results[hiddenOutput], batch, tokens, hiddenSize);
    const pooled = poolerOutput === null ? null : floats(results[poolerOutput], batch, hiddenSize);
    const mask = (given.attention_mask?.data as BigInt64Array | undefined) ?? null;
    const logits = task && applyHead(task.head, { hidden, batch, tokens, mask, pooled });
    checkFinite(task, logits ?? hidden, mask);
    if (!task && pooled) checkFinite(task, pooled);
    return { task: task?.name ?? null, hidden, pooled, logits };
  }

  /**
   * A task as runs use it, null for none: what `run` resolves its option `task` to.
   *
   * Runs that belong together hold on to it, whatever is loaded or activated meanwhile.
   */
  decoded(task?: RunOptions["task"]): DecodedTask | null {
    if (task === undefined) return this.#active;
    return isString(task) ? this.#decode(task) : task;
  }

  /** Give the memory back; the session is of no use afterwards. */
  async release(): Promise<void> {
    await this.#last.catch(() => {});
    this.#bundles.clear();
    this.#decoded.clear();
    this.#active = null;
    await this.session.release();
  }

  #bundle(name: string): Bundle {
    const bundle = this.#bundles.get(name);
    if (!bundle) {
      throw taskError("unknown", `no task ${shown(name)} among: ${this.tasks}`);
    }
    return bundle;
  }

  #decode(name: string): DecodedTask {
    const bundle = this.#bundle(name);
    const decoded = this.#decoded.get(name) ?? decodeTask(name, bundle, this.manifest, this.ort);
    this.#decoded.delete(name);
    this.#decoded.set(name, decoded);
    let bytes = 0;
    for (const [kept, task] of [...this.#decoded].reverse()) {
      bytes += task.bytes;
      if (bytes > this.cacheBytes && kept !== name) this.#decoded.delete(kept);
    }
    return decoded;
  }
}

async function readText(files: BaseFiles, name: string): Promise<string> {
  const text = decodeUtf8(bytesOf(await files(name)));
  if (text === null) throw baseError("manifest", `${name} is not UTF-8`);
  return text;
}

function fetchBundle(address: string | URL): Promise<Bytes> {
  const text = String(address);
  return fetchBytes(text).catch((error: unknown) => {
    throw bundleError("missing", `${shown(text)}: ${reasonOf(error)}`);
  });
}

/** Hidden states and, where the base has one, the pooler's output. */
function outputNames({ hiddenOutput, poolerOutput }: BaseManifest): string[] {
  return poolerOutput === null ? [hiddenOutput] : [hiddenOutput, poolerOutput];
}

/** A result's numbers. Refuses (`base.graph`) others: onnxruntime holds no graph to its shapes. */
function floats(result: unknown, ...dims: number[]): Float32Array {
  const { type, data, dims: found } = result as Tensor;
  checkGraph(type === "float32" && `${found}` === `${dims}`);
  return data as Float32Array;
}

/** Refuse (`base.graph`) a graph that is not the one that the manifest describes. */
function checkGraph(same: boolean): void {
  if (!same) throw baseError("graph", `${MODEL} and ${MANIFEST} differ`);
}

/**
 * Refuse NaN and infinity among `values`: `task.not-finite`, or of the base alone `base.graph`.
 *
 * Where each token has values of its own, those of padding may be anything: `mask` is 0 there.
 */
function checkFinite(
  task: DecodedTask | null,
  values: Float32Array,
  mask: BigInt64Array | null = null,
): void {
  const perToken = !task || task.head.pooling === "none";
  const padding = (i: number): boolean =>
    perToken && mask?.[Math.floor((i * mask.length) / values.length)] === 0n;
  if (values.every((x, i) => isFinite(x) || padding(i))) return;
  const found = "results are NaN or infinite";
  throw task ? taskError("not-finite", `${task.name}: ${found}`) : baseError("graph", found);
}
