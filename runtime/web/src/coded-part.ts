/**
 * The tensor `osd.coded`: all factors and head layers of a bundle as coded integers.
 *
 * docs/bundle-format.md, "Coded integers", has the layout: sites, scales, the head's scales, then
 * the coded rows.
 */

import { checkCount, checkSite, type Factors, type LayerFacts, type Part, type SiteFacts } from "./bundle.js";
import { type BlockShape, decodeRows, type Integers } from "./coded-rows.js";
import { type BundleError, bundleError } from "./errors.js";
import type { HeadLayer } from "./heads.js";
import { isPlace, scaleAt } from "./scales.js";
import { scaled, sum } from "./values.js";

interface ScaledSite extends SiteFacts {
  readonly scale: Float32Array;
}

interface ScaledLayer extends LayerFacts {
  readonly scale: Float32Array;
  readonly biasScale: number | null;
}

const NO_BIAS = -32768; // in the place of a bias's scale
const MAX_DIMENSION = 65535;
const ONE = Float32Array.of(1); // the scale of what has none

/** The tensor `osd.coded`, read in the order of the bundle's checks. */
export class CodedPart implements Part {
  readonly values = "coded";
  readonly sites: readonly ScaledSite[];
  readonly #facts: LayerFacts[] = [];
  readonly #layers: ScaledLayer[] = [];
  #at = 0;

  /** Throws BundleError `bundle.coded-table`, `bundle.site-order`, `bundle.site-rank`. */
  constructor(
    readonly tensor: Uint8Array,
    siteCount: number,
  ) {
    this.sites = this.#sites(siteCount);
  }

  addLayer(_: number, facts: LayerFacts): void {
    this.#facts.push(facts);
  }

  /**
   * Read what the head needs, then decode all rows to see that they are well-formed.
   *
   * Throws BundleError `bundle.coded-table`, `bundle.coded-size`, `bundle.coded-stream`,
   * `bundle.coded-zero`.
   */
  finish(): void {
    for (const facts of this.#facts) {
      const scale = this.#scales(facts.rank || facts.n);
      const top = this.#int16();
      if (top !== NO_BIAS && !isPlace(top)) throw malformed("a scale");
      this.#layers.push({ ...facts, scale, biasScale: top === NO_BIAS ? null : scaleAt(top) });
    }
    const blocks = this.#blocks();
    this.sites.forEach(({ site, k }, i) => {
      for (const block of blocks.slice(2 * i, 2 * i + 2)) {
        const width = block.length / k;
        for (let at = 0; at < block.length; at += width) {
          if (block.subarray(at, at + width).some(Boolean)) continue;
          throw bundleError("coded-zero", `a zero column, site ${site}`);
        }
      }
    });
  }

  decode(): { factors: Factors[]; layers: HeadLayer[] } {
    const blocks = this.#blocks();
    let at = 0;
    const next = (scale: Float32Array = ONE): Float32Array =>
      scaled(blocks[at++] as Integers, scale);
    const factors = this.sites.map(({ scale }) => ({ u: next(scale), v: next() }));
    const layers = this.#layers.map(({ n, d, rank, activation, scale, biasScale }) => {
      const first = next(scale);
      const v = rank > 0 ? next() : null;
      const bias = biasScale === null ? null : next(Float32Array.of(biasScale));
      return { n, d, activation, bias, weight: v ? null : first, u: v && first, v };
    });
    return { factors, layers };
  }

  /** Blocks of rows in the order of the file. */
  #blocks(): Integers[] {
    const rows = this.tensor.subarray(this.#at);
    const shapes: BlockShape[] = [];
    for (const { n, d, k } of this.sites) shapes.push([k, n], [k, d]);
    for (const { n, d, rank, biasScale } of this.#layers) {
      if (rank > 0) shapes.push([rank, n], [rank, d]);
      else shapes.push([n, d]);
      if (biasScale !== null) shapes.push([1, n]);
    }
    if (shapes.length > 0) return decodeRows(rows, shapes);
    if (rows.length > 0) throw malformed("rows of nothing");
    return [];
  }

  #sites(siteCount: number): ScaledSite[] {
    const count = this.#varint();
    checkCount(count, siteCount);
    if (count === 0) return [];
    const shapes = this.#shapes(this.#varint());
    const facts: SiteFacts[] = [];
    let index = -1;
    let used = 0;
    for (let i = 0; i < count; i++) {
      index += 1 + this.#varint();
      const both = this.#varint();
      const shape = both % shapes.length;
      const k = Math.floor(both / shapes.length) + 1;
      const [n, d] = shapes[shape] as [number, number];
      const site = { site: index, n, d, k };
      checkSite(site, -1, siteCount);
      if (shape > used) throw malformed("shape order");
      used = Math.max(used, shape + 1);
      facts.push(site);
    }
    if (used !== shapes.length) throw malformed("unused shape");
    const scales = this.#scales(sum(facts.map(({ k }) => k)));
    let at = 0;
    return facts.map((site) => ({ ...site, scale: scales.subarray(at, (at += site.k)) }));
  }

  #shapes(count: number): [number, number][] {
    const shapes: [number, number][] = [];
    const seen = new Set<number>();
    for (let i = 0; i < count; i++) {
      const n = this.#varint();
      const d = this.#varint();
      const key = n * 2 ** 16 + d;
      if (n < 1 || n > MAX_DIMENSION || d < 1 || d > MAX_DIMENSION || seen.has(key)) {
        throw malformed(`shape [${n}, ${d}]`);
      }
      seen.add(key);
      shapes.push([n, d]);
    }
    if (shapes.length === 0) throw malformed("no shapes");
    return shapes;
  }

  #take(count: number): Uint8Array {
    if (count > this.tensor.length - this.#at) throw malformed("it ends too early");
    this.#at += count;
    return this.tensor.subarray(this.#at - count, this.#at);
  }

  #varint(): number {
    let number = 0;
    for (let i = 0; i < 4; i++) {
      const byte = this.#take(1)[0] as number;
      number += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) {
        if (i > 0 && byte === 0) break;
        return number;
      }
    }
    throw malformed("a number too long");
  }

  #int16(): number {
    const [low, high] = this.#take(2) as unknown as [number, number];
    return ((low | (high << 8)) << 16) >> 16;
  }

  #scales(count: number): Float32Array {
    const top = this.#int16();
    if (!isPlace(top)) throw malformed("a scale");
    const below = this.#take(count);
    if (!below.includes(0)) throw malformed("scales");
    return Float32Array.from(below, (b) => scaleAt(top - b));
  }
}

function malformed(what: string): BundleError {
  return bundleError("coded-table", `malformed: ${what}`);
}
