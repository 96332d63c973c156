/**
 * The tensor `osd.coded`: all factors and head layers of a bundle as coded integers.
 *
 * docs/bundle-format.md, "Coded integers", has the layout: sites, scales, the head's scales, then
 * the coded rows.
 */

import {
  checkCount,
  checkIndex,
  checkRank,
  headLayer,
  type LayerFacts,
  type MatrixShape,
  matrices,
  type Part,
  type SiteFacts,
} from "./bundle.js";
import { decodeRows, type Integers } from "./coded-rows.js";
import { scaleAt } from "./scales.js";
import { malformed, type TableReader, tableReader } from "./table-reader.js";
import { scaled, sum } from "./values.js";

const NO_BIAS = -32768; // in the place of the grid index of a bias's scale
const ONE = Float32Array.of(1); // the scale of what has none

/**
 * Read the tensor `osd.coded`: its sites at once.
 *
 * Throws BundleError `bundle.coded-table`, `bundle.site-order`, `bundle.site-rank`; `finish` throws
 * `bundle.coded-table`, `bundle.coded-size`, `bundle.coded-stream`, `bundle.coded-zero`.
 */
export function codedPart(tensor: Uint8Array, siteCount: number): Part {
  const table = tableReader(tensor);
  const layers: LayerFacts[] = [];
  const biased = new Set<LayerFacts>();
  // Blocks of rows in the order of the file, and the scales of their rows.
  const shapes: MatrixShape[] = [];
  const scales: Float32Array[] = [];
  const add = (scale: Float32Array, ...blocks: MatrixShape[]): void => {
    shapes.push(...blocks);
    scales.push(...blocks.map((_, i) => (i > 0 ? ONE : scale)));
  };
  const integers = (): Integers[] => {
    const rows = table.rest();
    if (shapes.length > 0) return decodeRows(rows, shapes, 2 * sites.length);
    if (rows.length > 0) throw malformed("rows of nothing");
    return [];
  };

  const sites = readSites(table, siteCount);
  if (sites.length > 0) {
    const scale = table.scales(sum(sites.map(({ k }) => k)));
    let at = 0;
    for (const site of sites) add(scale.subarray(at, (at += site.k)), ...matrices(site));
  }
  return {
    values: "coded",
    sites,
    addLayer: (_, layer) => layers.push(layer),
    finish: () => {
      for (const layer of layers) {
        add(table.scales(layer.rank || layer.n), ...matrices(layer));
        const index = table.gridIndex(NO_BIAS);
        if (index === NO_BIAS) continue;
        biased.add(layer);
        add(Float32Array.of(scaleAt(index)), [1, layer.n]);
      }
      integers();
    },
    decode: () => {
      const decoded = integers().map((block, i) => scaled(block, scales[i] as Float32Array));
      let at = 0;
      const next = (): Float32Array => decoded[at++] as Float32Array;
      return {
        factors: sites.map(() => ({ u: next(), v: next() })),
        layers: layers.map((layer) =>
          headLayer(layer, next(), layer.rank ? next() : null, biased.has(layer) ? next() : null),
        ),
      };
    },
  };
}

function readSites({ varint, dimension }: TableReader, siteCount: number): SiteFacts[] {
  const count = varint();
  checkCount(count, siteCount);
  if (count === 0) return [];
  const shapes: MatrixShape[] = [];
  for (let left = varint(); left > 0; left--) shapes.push([dimension(), dimension()]);
  // A set, since looking through a list of many shapes would take a hostile file's time.
  if (!shapes.length || new Set(shapes.map(String)).size < shapes.length) {
    throw malformed("no shapes, or one twice");
  }
  const facts: SiteFacts[] = [];
  let site = -1;
  let used = 0;
  for (let i = 0; i < count; i++) {
    site += 1 + varint();
    checkIndex(site, -1, siteCount);
    const both = varint();
    const shape = both % shapes.length;
    const [n, d] = shapes[shape] as MatrixShape;
    facts.push({ site, n, d, k: Math.floor(both / shapes.length) + 1 });
    checkRank(facts[i] as SiteFacts);
    if (shape > used) throw malformed("a shape before its turn");
    used = Math.max(used, shape + 1);
  }
  if (used !== shapes.length) throw malformed("a shape of no site");
  return facts;
}
