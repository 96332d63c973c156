/** What a task bundle holds once it was read and checked; factors stay coded until asked for. */

import { bundleError } from "./errors.js";
import type { Head, HeadLayer, Kind, Pooling } from "./heads.js";

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
  if (count > siteCount) {
    throw bundleError("site-order", `${count} sites of ${siteCount}`);
  }
}

/** Refuse a site whose index is not between `previous` and the last, or whose rank is too large. */
export function checkSite(facts: SiteFacts, previous: number, siteCount: number): void {
  const { site, n, d, k } = facts;
  if (site <= previous || site >= siteCount) {
    throw bundleError("site-order", `${site} after ${previous}, of ${siteCount}`);
  }
  if (k < 1 || k > Math.min(n, d)) {
    throw bundleError("site-rank", `site ${site} has rank ${k} for [${n}, ${d}]`);
  }
}

/** Everything that a bundle decodes to, sites in the order of the file. */
export interface DecodedBundle {
  readonly factors: readonly Factors[];
  readonly head: Head;
}

/** A head's layer before it is decoded. */
export type LayerFacts = Pick<HeadLayer, "n" | "d" | "activation"> & { readonly rank: number };

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
  /** All keys of the file; `info.method`, `info.scores` and `info.tool` are for people. */
  readonly metadata: ReadonlyMap<string, string>;
  /** All factors and the head; anew at every call. */
  decode(): DecodedBundle;
}
