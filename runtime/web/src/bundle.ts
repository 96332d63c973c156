/** What a task bundle holds once it was read and checked; factors stay coded until asked for. */

import { checkBundle } from "./errors.js";
import type { Head, HeadLayer, Kind, Pooling } from "./heads.js";
import type { Probe } from "./probe.js";
import type { TaskText } from "./task-text.js";
import type { VectorFacts } from "./vectors-part.js";

/** Factors of one site as float32: `u` `[k, n]`, scales applied, and `v` `[k, d]`. */
export interface Factors {
  readonly u: Float32Array;
  readonly v: Float32Array;
}

/** A linear layer's delta ΔW = Σⱼ uⱼ vⱼᵀ, `[n, d]`; `site` is its index in the base's site table. */
export interface SiteFacts {
  readonly site: number;
  readonly n: number;
  readonly d: number;
  readonly k: number;
}

/** Refuse more sites than the base has. */
export function checkCount(count: number, siteCount: number): void {
  checkBundle("site-order", count <= siteCount, `${count} sites of ${siteCount}`);
}

/** Refuse a site index that is not between `previous` and the last. */
export function checkIndex(site: number, previous: number, siteCount: number): void {
  const between = site > previous && site < siteCount;
  checkBundle("site-order", between, `${site} after ${previous}, of ${siteCount}`);
}

/** Refuse a site whose rank is 0 or too large. */
export function checkRank({ site, n, d, k }: SiteFacts): void {
  const fits = k > 0 && k <= Math.min(n, d);
  checkBundle("site-rank", fits, `site ${site} has rank ${k} for [${n}, ${d}]`);
}

/** Everything that a bundle decodes to, sites in the order of the file. */
export interface DecodedBundle {
  readonly factors: readonly Factors[];
  readonly head: Head;
  /** What is added to each of the base's vectors that the task changes. */
  readonly vectors: readonly Float32Array[];
}

/** A head's layer before it is decoded; its rank is 0 where it has a whole matrix. */
export type LayerFacts = Pick<HeadLayer, "n" | "d" | "activation"> & { readonly rank: number };

/** How many rows a matrix has, and how many numbers each of them. */
export type MatrixShape = readonly [rows: number, width: number];

/** The matrices of a site, or of a head's layer: U and V, or where the rank is 0 a whole one. */
export function matrices(one: SiteFacts | LayerFacts): MatrixShape[] {
  const { n, d } = one;
  const k = "k" in one ? one.k : one.rank;
  return k > 0 ? [[k, n], [k, d]] : [[n, d]];
}

/** A head's layer of the matrix `first`, or of the factors `first` and `v`. */
export function headLayer(
  { n, d, activation }: LayerFacts,
  first: Float32Array,
  v: Float32Array | null,
  bias: Float32Array | null,
): HeadLayer {
  return { n, d, activation, bias, weight: v ? null : first, u: v && first, v };
}

/**
 * The part of a bundle with its numbers, coded or plain, read in the order of the checks: sites
 * first, then the head's layers one by one, then `finish`. Each step throws BundleError.
 */
export interface Part {
  readonly values: Bundle["values"];
  readonly sites: readonly SiteFacts[];
  addLayer(i: number, facts: LayerFacts): void;
  finish(): void;
  /** All factors and the head's layers; anew at every call. */
  decode(): { factors: Factors[]; layers: HeadLayer[] };
}

/** A task bundle's content. `base` is the fingerprint of the base weights. */
export interface Bundle {
  readonly task: string;
  readonly taskVersion: string;
  readonly labels: readonly string[];
  readonly base: string;
  /** Length of the base's site table. */
  readonly siteCount: number;
  /** Type of the delta's values: fp32, fp16, int8 or coded. */
  readonly values: "fp32" | "fp16" | "int8" | "coded";
  readonly sites: readonly SiteFacts[];
  readonly head: {
    readonly kind: Kind;
    readonly pooling: Pooling;
    readonly layers: readonly LayerFacts[];
  };
  /** Orders the files of one task: of two, the one with the higher number is newer. */
  readonly sequence: number;
  /** How the task's texts become tokens, where that is not as the base has it. */
  readonly text: TaskText | null;
  /** Inputs with the answers that they must give. */
  readonly probe: Probe | null;
  /** The base's biases and norms that the task changes, by ascending index. */
  readonly vectors: readonly VectorFacts[];
  /** All keys of the file; `info.method`, `info.scores` and `info.tool` are for people. */
  readonly metadata: ReadonlyMap<string, string>;
  /** All factors, the head, and changes of vectors; anew at every call. */
  decode(): DecodedBundle;
}
