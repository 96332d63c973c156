/** A task as the session uses it: what to feed the graph, and the head for what comes out. */

import type { OnnxValue, Tensor, TensorConstructor } from "onnxruntime-web";
import type { Bundle } from "./bundle.js";
import { fp16Factors } from "./fp16.js";
import type { Head } from "./heads.js";
import type { BaseManifest, Site } from "./manifest.js";
import type { TaskText } from "./task-text.js";

/** Tensors by the name of a graph input. */
export type Feeds = Record<string, OnnxValue>;

export interface DecodedTask {
  readonly name: string;
  readonly labels: readonly string[];
  /** U as `[1, k, n]` and V as `[1, d, k]` of each site that the task changes. */
  readonly feeds: Feeds;
  readonly head: Head;
  /** How its texts become tokens, where that is not as the base has it: `encode` knows. */
  readonly text: TaskText | null;
  /** Memory that this takes. */
  readonly bytes: number;
}

/** What is used of an onnxruntime here. */
export interface Tensors {
  readonly Tensor: TensorConstructor;
}

/** Floats, or those of fp16 as their bits. */
type Values = Float32Array | Uint16Array;

/**
 * Decode `bundle`, which must have been checked to fit `manifest`.
 *
 * Throws TaskError `task.range` where a package takes fp16 factors and the task's are too large.
 */
export function decodeTask(
  name: string,
  bundle: Bundle,
  manifest: BaseManifest,
  ort: Tensors,
): DecodedTask {
  const { factors, head } = bundle.decode();
  const feeds: Feeds = {};
  let bytes = 0;
  bundle.sites.forEach(({ site: place, n, d, k }, i) => {
    const site = manifest.sites[place] as Site;
    const decoded = factors[i] as (typeof factors)[number];
    const [u, v] =
      manifest.factors === "fp16"
        ? fp16Factors(name, k, decoded.u, decoded.v)
        : [decoded.u, decoded.v];
    feeds[site.u as string] = tensor(ort, u, 1, k, n);
    feeds[site.v as string] = tensor(ort, transposed(v, k, d), 1, d, k);
    bytes += u.byteLength + v.byteLength;
  });
  for (const layer of head.layers) {
    for (const part of Object.values(layer)) bytes += part?.byteLength ?? 0;
  }
  return { name, labels: bundle.labels, feeds, head, text: bundle.text, bytes };
}

/** Factors of rank 0 for every branch: what a session without a task is fed. */
export function emptyFeeds(manifest: BaseManifest, ort: Tensors): Feeds {
  const feeds: Feeds = {};
  const none = new (manifest.factors === "fp16" ? Uint16Array : Float32Array)(0);
  for (const { n, d, u, v } of manifest.sites) {
    if (u === null || v === null) continue;
    feeds[u] = tensor(ort, none, 1, 0, n);
    feeds[v] = tensor(ort, none, 1, d, 0);
  }
  return feeds;
}

function tensor(ort: Tensors, data: Values, ...dims: number[]): Tensor {
  return new ort.Tensor(data instanceof Float32Array ? "float32" : "float16", data, dims);
}

/** A matrix `[k, d]` as `[d, k]`. */
function transposed(matrix: Values, k: number, d: number): Values {
  if (k === 1) return matrix;
  const result = matrix.slice();
  for (let row = 0; row < k; row++) {
    for (let i = 0; i < d; i++) result[i * k + row] = matrix[row * d + i] as number;
  }
  return result;
}
