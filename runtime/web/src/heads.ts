/** A head: what only the task has. Pooling, then linear layers, then a kind of answer. */

export const POOLINGS = ["cls", "mean", "last", "pooler", "none", "logits"] as const;
export const ACTIVATIONS = {
  tanh: Math.tanh,
  relu: (x: number): number => Math.max(x, 0),
  gelu,
  "gelu-norm": gelu, // and then made to have mean 0 and variance 1
};
const NORM_EPSILON = 1e-5;

export type Pooling = (typeof POOLINGS)[number];
export type Activation = keyof typeof ACTIVATIONS;
export type Kind = keyof typeof KINDS;

/**
 * The facts that the format states of a kind of task; `osd_edge/formats/kinds.py` has the same.
 *
 * A kind that asks for a `pooling` goes with that one alone: `none`, where every token has logits
 * of its own, or `logits`, the base's own, for which no base package is yet. A kind that gives a
 * `vector` has no labels, may do without layers, and says whether the vector is normalised.
 * `labels` are those of every task of the kind.
 */
export interface TaskKind {
  readonly pooling?: "none" | "logits";
  readonly vector?: boolean;
  readonly labels?: readonly string[];
}

export const KINDS = {
  labels: {}, // one of them
  "multi-label": {}, // any of them
  regression: {}, // numbers
  "token-labels": { pooling: "none" }, // one for each token
  spans: { pooling: "none", labels: ["start", "end"] }, // of an answer in a context
  embedding: { vector: true },
  generate: { pooling: "logits" }, // text, a token after the other
} satisfies Record<string, TaskKind>;

/** y = activation(W x + b): W is `weight` `[n, d]`, or Uᵀ V of `u` `[k, n]` and `v` `[k, d]`. */
export interface HeadLayer {
  readonly n: number;
  readonly d: number;
  readonly activation: Activation | null;
  readonly bias: Float32Array | null;
  readonly weight: Float32Array | null;
  readonly u: Float32Array | null;
  readonly v: Float32Array | null;
}

export interface Head {
  readonly kind: Kind;
  readonly pooling: Pooling;
  readonly layers: readonly HeadLayer[];
  /** Whether outputs are divided by their length: embeddings alone. */
  readonly normalize: boolean;
}

/** Hidden states of the base, `[batch, tokens, hidden]`, and what a head needs beside them. */
export interface HeadInput {
  readonly hidden: Float32Array;
  readonly batch: number;
  readonly tokens: number;
  /** `[batch, tokens]`, not 0 where there is a token; null where there is one everywhere. */
  readonly mask: ArrayLike<number | bigint> | null;
  /** The base's own pooler output `[batch, hidden]`, which the pooling `pooler` needs. */
  readonly pooled: Float32Array | null;
}

/** Logits `[batch, labels]`, or `[batch, tokens, labels]` where the pooling is `none`. */
export function applyHead(head: Head, input: HeadInput): Float32Array {
  const { hidden, batch, tokens } = input;
  // With a row for each token, it is as if each were an input by itself.
  if (head.pooling === "none" && tokens > 1) {
    return applyHead(head, { ...input, batch: batch * tokens, tokens: 1 });
  }
  const outputs = head.layers.at(-1)?.n ?? hidden.length / (batch * tokens);
  const logits = new Float32Array(batch * outputs);
  for (let row = 0; row < batch; row++) {
    let x = pool(head.pooling, input, row);
    for (const layer of head.layers) x = applyLayer(layer, x);
    if (head.normalize) {
      const length = Math.sqrt(x.reduce((sum, y) => sum + y * y, 0)) || 1;
      x = x.map((y) => y / length);
    }
    logits.set(x, row * outputs);
  }
  return logits;
}

function pool(pooling: Pooling, input: HeadInput, row: number): Float32Array {
  const { hidden, batch, tokens, mask, pooled } = input;
  const part = (array: Float32Array, i: number, of: number): Float32Array =>
    array.subarray((i * array.length) / of, ((i + 1) * array.length) / of);
  const token = (i: number): Float32Array => part(hidden, row * tokens + i, batch * tokens);
  const there = (i: number): boolean => Number(mask?.[row * tokens + i] ?? 1) !== 0;
  if (pooling === "pooler") return part(pooled as Float32Array, row, batch);
  if (pooling === "last") {
    let last = tokens - 1;
    while (last >= 0 && !there(last)) last--;
    return token(last < 0 ? tokens - 1 : last);
  }
  if (pooling === "mean") {
    const sum = new Float64Array(token(0).length);
    let count = 0;
    for (let i = 0; i < tokens; i++) {
      if (!there(i)) continue;
      count++;
      token(i).forEach((x, j) => (sum[j]! += x));
    }
    return Float32Array.from(sum, (x) => x / Math.max(count, 1));
  }
  return token(0);
}

function applyLayer(layer: HeadLayer, x: Float32Array): Float32Array {
  const { n, d, weight, u, v, bias } = layer;
  const y = new Float64Array(n);
  const matrix = (weight ?? v) as Float32Array;
  for (let row = 0; row * d < matrix.length; row++) {
    const along = dot(matrix, row * d, x);
    if (u === null) y[row] = along;
    else for (let i = 0; i < n; i++) y[i]! += along * (u[row * n + i] as number);
  }
  const apply = layer.activation === null ? Number : ACTIVATIONS[layer.activation];
  const z = y.map((sum, i) => apply(sum + (bias?.[i] ?? 0)));
  if (layer.activation !== "gelu-norm") return Float32Array.from(z);
  const mean = z.reduce((a, b) => a + b) / n;
  const variance = z.reduce((sum, x) => sum + (x - mean) ** 2, 0) / n;
  return Float32Array.from(z, (x) => (x - mean) / Math.sqrt(variance + NORM_EPSILON));
}

function dot(matrix: Float32Array, at: number, x: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (matrix[at + i] as number) * (x[i] as number);
  return sum;
}

function gelu(x: number): number {
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

/** The error function: 2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!, whose terms all have one sign. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
